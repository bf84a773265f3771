"""What the preflight component does: check all parameters, and say by what the images can be known again."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp_image_tuning.core.errors import ImageTuningError, ParameterError
from kfp_image_tuning.core.object_store import is_remote
from kfp_image_tuning.core.volume_claims import is_on_claim
from kfp_image_tuning.preparation.sources.sources import remote_identity
from kfp_image_tuning.steps.preflight.parameters import find_problems
from kfp_image_tuning.steps.preflight.places import RUN_MARK, WORK_DIRECTORIES


@dataclass(frozen=True)
class PreflightOutcome:
    """What later steps need.

    Attributes:
        source_fingerprint: Changes with the images; with the run where that cannot be known without reading them.
        data_work_directory: The work directory of data preparation, with the run's identity in place.
        tune_work_directory: That of the search.
    """

    source_fingerprint: str
    data_work_directory: str
    tune_work_directory: str


def launch(engine: str, run_id: str, values: Mapping[str, Any]) -> PreflightOutcome:
    """Check a run's parameters.

    Args:
        engine: ``local``, ``katib`` or ``sagemaker``.
        run_id: The run's identity.
        values: Its parameters, by the run form's names.

    Raises:
        ParameterError: With everything that is wrong.
    """
    # Under kfp.local steps are processes of this machine, which see what the user sees.
    in_pod = "KFP_POD_NAME" in os.environ
    if problems := find_problems(engine, values, in_pod=in_pod):
        raise ParameterError.from_problems(map(str, problems))
    work = [str(values.get(name, "")).replace(RUN_MARK, run_id) for name in WORK_DIRECTORIES]
    return PreflightOutcome(_fingerprint(values["data_images"], run_id), *work)


def _fingerprint(data: str, run_id: str) -> str:
    """Names, sizes and ETags of a store's objects; the run itself where there are none."""
    if not is_remote(data) or is_on_claim(data):
        return run_id
    try:
        return remote_identity(data) or run_id
    except ImageTuningError as error:
        # Data preparation may have keys or volumes that this step lacks; it tells the reason if it has not.
        print(f"Warning: data_images: cannot be listed from this step, so they are prepared again: {error}", flush=True)
        return run_id
