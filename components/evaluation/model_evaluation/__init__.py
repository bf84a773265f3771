"""A model on images that no trial saw: the component's face."""

from .component import model_evaluation

__all__ = ["model_evaluation"]
