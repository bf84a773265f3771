"""A search as a tuning job of SageMaker: the component's face."""

from .component import sagemaker_tuning

__all__ = ["sagemaker_tuning"]
