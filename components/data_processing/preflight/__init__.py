"""All parameters of a run, checked first: the component's face."""

from .component import preflight

__all__ = ["preflight"]
