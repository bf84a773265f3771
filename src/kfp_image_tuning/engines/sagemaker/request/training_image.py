"""Where the built-in Image Classification algorithm's image is, region by region.

The table is data (``image_registries.json``, with its source in it): each region has its own registry account, and each
partition its own domain.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import EngineError

_PARTITIONS = {
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "us-isof-": "aws-iso-f",
    "eu-isoe-": "aws-iso-e",
    "eusc-": "aws-eusc",
}
"""Partitions by the start of their regions' names; every other region is in ``aws`` (botocore's partitions.json)."""


def training_image(region: str) -> str:
    """The URI of the built-in algorithm's image in a region.

    A region that this table does not have is looked up in the SageMaker SDK, where that is installed.

    Raises:
        EngineError: If AWS publishes no image for this region, or only since this table was made.
    """
    table = _registries()
    if account := table["registries"].get(region):
        return f"{account}.dkr.ecr.{region}.{registry_domain(region)}/{table['repository']}:{table['tag']}"
    if image := _image_of_sdk(region, table["repository"]):
        return image
    raise EngineError(
        f"region: {region!r} is not among the {len(table['registries'])} regions with an image of the built-in "
        f"algorithm ({', '.join(table['registries'])}); choose one of them, give image, or install a newer "
        "SageMaker SDK, which may know it: pip install 'kfp-image-tuning[sagemaker-sdk]'"
    )


def is_built_in(image: str) -> bool:
    """Whether an image is the built-in algorithm's, in whatever region."""
    parts = image.partition("/")[0].split(".")
    if len(parts) < 4:
        return False
    try:
        return _without_tag(training_image(parts[3])) == _without_tag(image)
    except EngineError:
        return False


def _without_tag(image: str) -> str:
    return image.partition(":")[0].partition("@")[0]


def _image_of_sdk(region: str, algorithm: str) -> str:
    """What the SageMaker SDK says; empty if it is not installed or does not know the region either."""
    try:
        from sagemaker.core import image_uris
    except ImportError:
        return ""
    try:
        return str(image_uris.retrieve(algorithm, region))
    except ValueError:
        return ""


def registry_domain(region: str) -> str:
    """The domain of a region's partition."""
    domains: dict[str, str] = _registries()["domains"]
    return next((domain for prefix, domain in domains.items() if region.startswith(prefix)), domains["default"])


def partition(region: str) -> str:
    """The name of a region's partition, as in ARNs."""
    return next((name for prefix, name in _PARTITIONS.items() if region.startswith(prefix)), "aws")


@cache
def _registries() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(Path(__file__).with_name("image_registries.json").read_bytes())
    return table
