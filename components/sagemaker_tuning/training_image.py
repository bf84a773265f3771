"""Where the built-in Image Classification algorithm's image lies, region by region.

The table is data (``image_registries.json``, with its source in it): each region has its own registry account, and each
partition its own domain.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from kfp_image_tuning.tuning.errors import EngineError

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

    Raises:
        EngineError: If AWS publishes no image for this region, or only since this table was made.
    """
    table = _registries()
    account = table["registries"].get(region)
    if account is None:
        raise EngineError(
            f"region: {region!r} is not among the {len(table['registries'])} regions with an image of the built-in "
            f"algorithm ({', '.join(table['registries'])}); choose one of them or give training_image"
        )
    return f"{account}.dkr.ecr.{region}.{registry_domain(region)}/{table['repository']}:{table['tag']}"


def is_built_in(image: str) -> bool:
    """Whether an image is the built-in algorithm's, in whatever region."""
    host, _, repository = image.partition("/")
    account = host.partition(".")[0]
    table = _registries()
    return repository.partition(":")[0] == table["repository"] and account in table["registries"].values()


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
