"""The pipelines, one for each engine that tunes: images → data set → best model → evaluation."""

from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.pipelines.image_tuning_katib import image_tuning_katib
from kfp_image_tuning.pipelines.image_tuning_local import image_tuning_local
from kfp_image_tuning.pipelines.image_tuning_sagemaker import image_tuning_sagemaker

PIPELINES: Mapping[str, Any] = {
    "local": image_tuning_local,
    "katib": image_tuning_katib,
    "sagemaker": image_tuning_sagemaker,
}
"""The pipeline of each engine."""
