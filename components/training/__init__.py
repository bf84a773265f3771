"""Components that search hyperparameters and train: one for each engine, with the same outputs."""
