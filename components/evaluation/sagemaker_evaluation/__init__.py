"""A model of SageMaker's algorithm on images that no trial saw: the component's face."""

from .component import sagemaker_evaluation

__all__ = ["sagemaker_evaluation"]
