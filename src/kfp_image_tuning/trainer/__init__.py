"""One trial: the built-in image classification algorithm's twin in PyTorch.

Networks, MXNet's update rules, augmentation, the training loop, model files. Imports ``dataset``, ``tuning`` and torch.
"""
