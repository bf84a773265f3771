"""What the local tuning component does: describe the search, run it here, put out model and result."""

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path

from kfp_image_tuning.core.console import say
from kfp_image_tuning.core.errors import StoreError
from kfp_image_tuning.core.object_store import without_credentials
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.local.engine import LocalEngine
from kfp_image_tuning.engines.local.interim_results import InterimResults, find_interim_place
from kfp_image_tuning.model.model_source import local_model
from kfp_image_tuning.options.declared import LocalOptions
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.steps.reproduction import search_command
from kfp_image_tuning.steps.tuning_outcome import TuningOutcome
from kfp_image_tuning.steps.tuning_run import run_plan
from kfp_image_tuning.steps.tuning_settings import TuningSettings

SEARCH_FOLDER = "search"
"""Where the search's state is in the work directory."""


def launch(
    settings: TuningSettings,
    options: LocalOptions,
    *,
    dataset: str,
    model: str,
    result: str,
    artifact: str = "",
    artifact_store: str = "",
    run_id: str = "",
) -> TuningOutcome:
    """Search in this process and its workers.

    Args:
        settings: What is searched and what it may cost.
        options: What only this engine has. Without a work directory the search's state is beside the run's artifacts.
        dataset: Folder of the prepared data set.
        model: Folder that gets the best model.
        result: File that gets the result document.
        artifact: Address of one of the step's output artifacts.
        artifact_store: What Kubeflow says about the store of artifacts (``store_session_info``).
        run_id: Kubeflow's identity of the run; empty outside of Kubeflow, where nothing is kept.

    Raises:
        EngineError: If the search was stopped from outside, or ended without a model.
        ImageTuningError: Whatever else is wrong with search or data.
    """
    prepared = Dataset.load(dataset)
    search = settings.to_search(prepared).with_prior(options.prior)
    initial_model, work_directory = settings.initial_model or "", options.work_directory
    with contextlib.ExitStack() as opened:
        place = Path(work_directory or opened.enter_context(tempfile.TemporaryDirectory(prefix="search-")))
        # Brought here once for all trials.
        start = str(opened.enter_context(local_model(initial_model))) if initial_model else None
        name = without_credentials(initial_model)
        kept = None
        if not work_directory:
            try:
                kept = find_interim_place(artifact, artifact_store, run_id, search, name)
            except StoreError as error:
                # Such as a pipeline that gives this step no keys.
                say(f"Warning: what this search reaches is not kept for a retry of the run: {error}")
            if kept is not None:
                interim = InterimResults(kept, place / SEARCH_FOLDER, say)
                interim.restore()
                opened.enter_context(interim.keeping())
        engine = LocalEngine(Path(dataset), place / SEARCH_FOLDER, Path(model), start, name)
        way_on = "nothing of it was kept"
        if work_directory:
            way_on = "start it again with the same work directory to continue"
        elif kept is not None:
            way_on = "a retry of the run continues with what it had reached"

        def forget_files(found: TuningResult) -> TuningResult:
            """What is in the temporary folder goes with it."""
            trials = tuple(replace(trial, model_uri=None, log_uri=None) for trial in found.trials)
            found = replace(found, trials=trials)
            found.save(Path(result))
            return found

        found = run_plan(
            engine,
            engine.plan(search),
            search_command(prepared, settings, options),
            result,
            after_stop=lambda _: way_on,
            keep=(lambda found: found) if work_directory else forget_files,
        )
    return TuningOutcome.of(found)
