"""From the command line's options to the settings of a search."""

from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.cli.pipeline_options import to_parameters
from kfp_image_tuning.steps.tuning_settings import TuningSettings


def settings_from(options: Mapping[str, Any]) -> TuningSettings:
    """The settings of the search that some options describe; the others stay at their defaults."""
    return TuningSettings.from_parameters(to_parameters(options), "tune_")
