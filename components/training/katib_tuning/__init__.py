"""A search by Katib: the component's face."""

from .component import katib_tuning

__all__ = ["katib_tuning"]
