"""A run of the local pipeline that takes seconds, on the stand-in for KFP's backend."""

from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.core.installed_code import KEY, config_map_name
from kfp_image_tuning.delivery.package_archive import build_archive

IMAGES = "minio://images/digits"
SMALL_SEARCH: Mapping[str, Any] = {
    "data_test_fraction": 0.2,
    "tune_max_trials": 2,
    "tune_epochs": 2,
    "tune_search_space": {"optimizer": "sgd", "mini_batch_size": 16.0, "learning_rate": {"min": 0.05, "max": 0.2}},
}
SMALL_RUN: Mapping[str, Any] = {"data_images": IMAGES, "eval_min_accuracy": 0.01, **SMALL_SEARCH}
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""For pods that share a few processors."""


def config_maps() -> dict[str, Any]:
    """The namespace's ConfigMaps after the manifests were applied."""
    return {config_map_name(): {"binaryData": {KEY: build_archive()}}}
