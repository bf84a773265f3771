"""The steps that all pipelines share, and what all of them give.

A recurring run with the same parameters is meant to search again. A run that is created with caching on overrides what
a pipeline says of it, so each step that must run again has the run's identity among its inputs, which are what KFP
looks a cached result up by.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kfp import dsl

from kfp_image_tuning.components.data_processing.data_preparation import data_preparation
from kfp_image_tuning.components.data_processing.preflight import preflight
from kfp_image_tuning.pipelines.store_access import reach_stores


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


def check(engine: str, parameters: Mapping[str, Any]) -> Any:
    """The first task: all parameters, before anything is spent.

    Args:
        engine: Whose pipeline it is.
        parameters: The pipeline's parameters by name; those that preflight has no input for are left to KFP.
    """
    checked = preflight(engine=engine, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, **_inputs(preflight, parameters))
    checked.set_display_name("Check all parameters")
    checked.set_caching_options(False)
    return checked


def prepare(checked: Any, parameters: Mapping[str, Any]) -> Any:
    """The second task: images to data set; with caching on, the same images are not prepared twice.

    Args:
        checked: The first task.
        parameters: The pipeline's.
    """
    inputs = _inputs(data_preparation, parameters, "data_")
    inputs["work_directory"] = checked.outputs["data_work_directory"]
    prepared = data_preparation(source_fingerprint=checked.outputs["source_fingerprint"], **inputs)
    prepared.set_display_name("Prepare images")
    return prepared


def search(component: Any, prepared: Any, checked: Any, parameters: Mapping[str, Any]) -> Any:
    """The third task: one of the tuning components.

    Args:
        component: Which.
        prepared: The second task.
        checked: The first task.
        parameters: The pipeline's.
    """
    inputs = _inputs(component, parameters, "tune_")
    if "work_directory" in inputs:
        inputs["work_directory"] = checked.outputs["tune_work_directory"]
    tuned = component(dataset=prepared.outputs["dataset"], run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, **inputs)
    tuned.set_display_name("Search hyperparameters")
    tuned.set_caching_options(False)
    return tuned


def evaluate(
    component: Any, prepared: Any, tuned: Any, parameters: Mapping[str, Any], secret: Any = None, **more: Any
) -> Any:
    """The fourth task: the best model on images that no trial saw.

    Args:
        component: One of the components that evaluate.
        prepared: The second task.
        tuned: The third task.
        parameters: The pipeline's.
        secret: With the keys of the store that may hold a baseline; None: the component reaches it in another way.
        **more: Inputs that are parameters of another step.
    """
    evaluated = component(
        model=tuned.outputs["best_model"],
        dataset=prepared.outputs["dataset"],
        tuning_result=tuned.outputs["tuning_result"],
        run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        **_inputs(component, parameters, "eval_"),
        **more,
    )
    if secret is not None:
        # For a baseline in an object store.
        reach_stores(evaluated, secret)
    evaluated.set_display_name("Evaluate the best model")
    evaluated.set_caching_options(False)
    return evaluated


def collect(prepared: Any, tuned: Any, evaluated: Any) -> ImageTuningOutputs:
    """All that a pipeline gives, from its tasks."""
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


def _inputs(component: Any, parameters: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Those of a pipeline's parameters that a component has an input for."""
    names = {f"{prefix}{name}": name for name in component.component_spec.inputs}
    return {names[name]: value for name, value in parameters.items() if name in names}
