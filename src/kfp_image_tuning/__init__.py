"""Tuning of image classifiers: one search on this machine, on Katib or on Amazon SageMaker.

Packages import each other in one direction (docs/architecture.md). ``components`` and ``pipelines`` are links to the
folders at the top of the repository, so that one import name finds everything.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Imported here: it takes longer than everything else that this package imports by itself.
    from importlib.metadata import version

    return version("kfp-image-tuning")
