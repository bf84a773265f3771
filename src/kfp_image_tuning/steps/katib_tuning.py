"""What the Katib tuning component does: bring the data set where trials reach it, search, bring in what came of it."""

from pathlib import Path

from kfp_image_tuning.core.console import say
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.katib.engine import KatibEngine
from kfp_image_tuning.engines.katib.request.config import KatibConfig
from kfp_image_tuning.engines.katib.session.dataset_transfer import bring_dataset
from kfp_image_tuning.steps.reproduction import search_command
from kfp_image_tuning.steps.tuning_outcome import TuningOutcome
from kfp_image_tuning.steps.tuning_run import run_plan
from kfp_image_tuning.steps.tuning_settings import TuningSettings


def launch(
    settings: TuningSettings,
    config: KatibConfig,
    *,
    dataset: str,
    model: str,
    result: str,
) -> TuningOutcome:
    """Run a search's Experiments, or attach to those that this run has started before.

    Args:
        settings: What is searched and what it may cost.
        config: Where in the cluster.
        dataset: Folder of the prepared data set.
        model: Folder that gets the best model.
        result: File that gets the result document.

    Raises:
        EngineError: If the search was stopped from outside, or ended without a model.
        ImageTuningError: Whatever else is wrong with search, options or data.
    """
    prepared = Dataset.load(dataset)
    search = settings.to_search(prepared)
    options = config.options(search, settings.initial_model)
    mount = config.mount
    models_mount = mount / "models" if mount else None
    engine = KatibEngine(options, Path(model), models_mount=models_mount)
    # The plan first: what Katib would refuse is to be told before anything is sent.
    plan = engine.plan(search)
    if not config.data_in_place:
        seen = mount / options.data.removeprefix(config.folder).strip("/") if mount else None
        bring_dataset(prepared, options, seen, say)
    found = run_plan(
        engine,
        plan,
        search_command(prepared, settings, config.to_repeat(), engine="katib"),
        result,
        after_stop=lambda _: "its Experiments are deleted, and the same run continues after the trials that have ended",
    )
    return TuningOutcome.of(found)
