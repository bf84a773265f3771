"""Images into a data set: the component's face."""

from .component import data_preparation

__all__ = ["data_preparation"]
