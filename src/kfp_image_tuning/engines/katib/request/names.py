"""Names, labels and annotations of a search's objects, all of them made from the run alone, never from the clock.

A restarted process therefore finds the Experiments that an earlier one started, and the fingerprint of each, kept as an
annotation, tells it from a foreign one of the same name.
"""

import re
from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.core.json_files import sha256_of
from kfp_image_tuning.engines.naming import DIGEST_LENGTH, make_name

LONGEST_EXPERIMENT_NAME = 40
RUN_LABEL = "kfp-image-tuning/run"
"""Digest of the run, on everything that it makes; finds what an earlier attempt of the same run left behind."""
FINGERPRINT_ANNOTATION = "kfp-image-tuning/fingerprint"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "kfp-image-tuning"

_LONGEST_BRANCH = len("-rmsprop")
COUNTS = ("maxTrialCount", "parallelTrialCount", "maxFailedTrialCount")
"""What of an Experiment may change while it runs, and is therefore no part of its identity."""


def digest_of(content: object) -> str:
    """A short identity of JSON content."""
    return sha256_of(content)[:DIGEST_LENGTH]


def base_name(prefix: str, digest: str) -> str:
    """The first part of all names of a run: ``PREFIX-0123456789abcdef``, short enough for an optimizer after it."""
    # Katib's names start with a letter.
    start = re.sub(r"^[^a-z]+", "", prefix.lower()) or "ic"
    return make_name(start, digest, LONGEST_EXPERIMENT_NAME - _LONGEST_BRANCH)


def labels_of(digest: str) -> dict[str, str]:
    """The labels of everything that a run makes."""
    return {MANAGED_BY_LABEL: MANAGER, RUN_LABEL: digest}


def fingerprint_of(spec: Mapping[str, Any]) -> str:
    """The identity of an Experiment, without its counts: a search may continue with more trials."""
    content = {name: value for name, value in spec.items() if name not in COUNTS}
    return f"sha256:{sha256_of(content)}"
