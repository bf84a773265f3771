"""Names, labels and annotations of a search's objects, all of them made from the run alone, never from the clock.

A restarted process therefore finds the Experiments that an earlier one started, and the fingerprint of each, kept as an
annotation, tells it from a foreign one of the same name.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

LONGEST_EXPERIMENT_NAME = 40
RUN_LABEL = "kfp-image-tuning/run"
"""Digest of the run, on everything that it makes; finds what an earlier attempt of the same run left behind."""
FINGERPRINT_ANNOTATION = "kfp-image-tuning/fingerprint"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGER = "kfp-image-tuning"

_DIGEST_LENGTH = 16
_LONGEST_BRANCH = len("-rmsprop")
COUNTS = ("maxTrialCount", "parallelTrialCount", "maxFailedTrialCount")
"""What of an Experiment may change while it runs, and is therefore no part of its identity."""


def digest_of(content: object) -> str:
    """A short identity of JSON content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_DIGEST_LENGTH]


def base_name(prefix: str, digest: str) -> str:
    """The first part of all names of a run: ``PREFIX-0123456789abcdef``, short enough for an optimizer after it."""
    room = LONGEST_EXPERIMENT_NAME - _LONGEST_BRANCH - _DIGEST_LENGTH - 1
    # Katib's names start with a letter.
    start = re.sub(r"[^a-z0-9]+", "-", prefix.lower()).strip("-").lstrip("0123456789-")[:room].strip("-")
    return f"{start or 'ic'}-{digest}"


def labels_of(digest: str) -> dict[str, str]:
    """The labels of everything that a run makes."""
    return {MANAGED_BY_LABEL: MANAGER, RUN_LABEL: digest}


def fingerprint_of(spec: Mapping[str, Any]) -> str:
    """The identity of an Experiment, without its counts: a search may go on with more trials."""
    content = {name: value for name, value in spec.items() if name not in COUNTS}
    return "sha256:" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
