"""The artifacts that the backend knows, as ML Metadata keeps them and as the driver hands them to later steps.

Recorded: input artifacts are named by their id there, have the type ``{"instanceSchema": ""}`` (none at all if they
came through the inputs of a group of tasks), and metadata with ``display_name`` and ``store_session_info``; objects in
metadata are wrapped as ``{"struct": …}``. From reading: lists and booleans are wrapped in the same way.
"""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """An artifact of a finished step.

    Attributes:
        number: Its id.
        name: Its output's name.
        uri: Where it is.
        kind: Its type in the pipeline specification.
        metadata: As the step gave it.
        session: How its store is reached, as JSON text; empty: it is in none that the backend knows.
        passed_on: Whether it came through the inputs of a group of tasks.
    """

    number: int
    name: str
    uri: str
    kind: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    session: str = ""
    passed_on: bool = False

    def as_input(self) -> Document:
        """As the driver hands it to a step."""
        metadata = {name: wrapped(value) for name, value in self.metadata.items()} | {"display_name": self.name}
        if self.session:
            metadata["store_session_info"] = self.session
        handed: Document = {"name": str(self.number)}
        if not self.passed_on:
            handed["type"] = {"instanceSchema": ""}
        return handed | {"uri": self.uri, "metadata": dict(sorted(metadata.items()))}


class ArtifactNumbers:
    """Gives each new artifact an id; ids are shared by all runs."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def next(self) -> int:
        return next(self._numbers)


def wrapped(value: Any) -> Any:
    """A value of metadata after it went through ML Metadata, which has texts, numbers and structures."""
    if isinstance(value, bool):
        return {"bool": value}
    if isinstance(value, dict):
        return {"struct": as_go_writes(value)}
    if isinstance(value, list):
        return {"list": as_go_writes(value)}
    return as_go_writes(value)


def as_go_writes(value: Any) -> Any:
    """A value as Go's JSON encoder writes it: whole numbers without a fraction."""
    if isinstance(value, dict):
        return {key: as_go_writes(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [as_go_writes(entry) for entry in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value


def session_info(endpoint: str, secret: str) -> str:
    """``store_session_info`` of an artifact in the namespace's store.

    Args:
        endpoint: Host and port.
        secret: Name of the Secret with the keys.
    """
    parameters = {
        "accessKeyKey": "accesskey",
        "disableSSL": "true",
        "endpoint": endpoint,
        "fromEnv": "false",
        "maxRetries": "5",
        "region": "minio",
        "secretKeyKey": "secretkey",
        "secretName": secret,
    }
    return json.dumps({"Provider": "minio", "Params": parameters}, separators=(",", ":"))
