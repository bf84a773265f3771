"""A search as a tuning job of SageMaker: the component's face."""
