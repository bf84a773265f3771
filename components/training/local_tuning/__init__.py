"""A search on this machine, in one pod: the component's face."""

from .component import local_tuning

__all__ = ["local_tuning"]
