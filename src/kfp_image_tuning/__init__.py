"""Tuning of image classifiers: one search on this machine, on Katib or on Amazon SageMaker.

    from kfp_image_tuning import tune

    run = tune("photos", max_trials=20)
    run.model.predict("holiday.jpg")

Packages import each other in one direction (docs/architecture.md). ``components`` and ``pipelines`` are links to the
folders at the top of the repository, so that one import name finds everything.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kfp_image_tuning.api.models import Model, load_model
    from kfp_image_tuning.api.runs import Run, evaluate, prepare, tune

    __version__: str

__all__ = ["Model", "Run", "evaluate", "load_model", "prepare", "tune"]


def __getattr__(name: str) -> Any:
    # Imported here: every package of ours imports this module, and few need these.
    if name == "__version__":
        from importlib.metadata import version

        return version("kfp-image-tuning")
    if name in ("Model", "load_model"):
        from kfp_image_tuning.api import models

        return getattr(models, name)
    if name in __all__:
        from kfp_image_tuning.api import runs

        return getattr(runs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
