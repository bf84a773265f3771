"""The steps that all pipelines share, and what all of them give.

A recurring run with the same parameters is meant to look at the images again and to search again: neither step is
cached.
"""

from typing import Any, NamedTuple

from kfp import dsl

from kfp_image_tuning.components.data_preparation.component import data_preparation


class ImageTuningOutputs(NamedTuple):
    """What every one of the pipelines gives, whatever engine tunes."""

    dataset: dsl.Dataset
    best_model: dsl.Model
    tuning_result: dsl.Artifact
    evaluation: dsl.Artifact
    report: dsl.HTML
    best_hyperparameters: dict  # type: ignore[type-arg]  # KFP knows the bare type only
    accuracy: float
    passed: bool


def prepare(**inputs: Any) -> Any:
    """The first task: images to data set."""
    prepared = data_preparation(**inputs)
    prepared.set_display_name("Prepare images")
    prepared.set_caching_options(False)
    return prepared


def search(component: Any, **inputs: Any) -> Any:
    """The second task: one of the tuning components."""
    tuned = component(**inputs)
    tuned.set_display_name("Search hyperparameters")
    tuned.set_caching_options(False)
    return tuned


def evaluate(component: Any, prepared: Any, tuned: Any, **inputs: Any) -> ImageTuningOutputs:
    """The third task: the best model on images that no trial saw; and all that a pipeline gives."""
    evaluated = component(
        model=tuned.outputs["best_model"],
        dataset=prepared.outputs["dataset"],
        tuning_result=tuned.outputs["tuning_result"],
        **inputs,
    )
    evaluated.set_display_name("Evaluate the best model")
    return ImageTuningOutputs(
        dataset=prepared.outputs["dataset"],
        best_model=tuned.outputs["best_model"],
        tuning_result=tuned.outputs["tuning_result"],
        evaluation=evaluated.outputs["evaluation"],
        report=evaluated.outputs["report"],
        best_hyperparameters=tuned.outputs["best_hyperparameters"],
        accuracy=evaluated.outputs["accuracy"],
        passed=evaluated.outputs["passed"],
    )
