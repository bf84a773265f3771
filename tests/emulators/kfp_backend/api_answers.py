"""The forms of what KFP's API answers: errors, pages of lists, times. From reading its protocol files and sources."""

import datetime
import json
from collections.abc import Mapping
from typing import Any

import flask

Document = dict[str, Any]
CODES = {400: 3, 404: 5, 409: 6}
"""HTTP status to gRPC's code."""


class ApiError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def find(kept: Mapping[str, Any], identity: str, kind: str) -> Any:
    """What is kept under an identity.

    Raises:
        ApiError: If there is none.
    """
    if identity not in kept:
        raise ApiError(404, f"ResourceNotFoundError: {kind} {identity} not found.")
    return kept[identity]


def remove(kept: dict[str, Any], identity: str, kind: str) -> None:
    """Delete what is kept under an identity; raises as `find`."""
    find(kept, identity, kind)
    del kept[identity]


def listed(name: str, entries: Any) -> Document:
    """A page of a list: the query's filter by name, experiment, and the page's size; newest last.

    Raises:
        ApiError: If the filter is of another kind.
    """
    asked = flask.request.args
    found = list(entries)
    if experiment := asked.get("experiment_id"):
        found = [entry for entry in found if entry.get("experiment_id") == experiment]
    for predicate in json.loads(asked.get("filter") or "{}").get("predicates", ()):
        if (predicate["operation"], predicate["key"]) not in ((1, "display_name"), ("EQUALS", "display_name")):
            raise ApiError(400, f"InvalidInputError: the stand-in knows no filter {predicate}")
        wanted = predicate.get("stringValue") or predicate.get("string_value")
        found = [entry for entry in found if entry["display_name"] == wanted]
    start, size = int(asked.get("page_token") or 0), int(asked.get("page_size") or 20)
    page: Document = {"total_size": len(found)}
    if found[start : start + size]:
        page[name] = found[start : start + size]
    if len(found) > start + size:
        page["next_page_token"] = str(start + size)
    return page


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
