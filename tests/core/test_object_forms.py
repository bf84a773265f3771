"""What a user wrote as an object against what is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from kfp_image_tuning.core.object_forms import build_object, find_misfits


@dataclass
class Pods:
    memory: str = ""
    volumes: Sequence[Mapping[str, Any]] = ()


@dataclass
class Mount:
    path: str
    size: str = ""


@dataclass
class Options:
    kind: Literal["Job", "TrainJob"] = "Job"
    trials: int = 1
    seconds: float = 1.0
    keep: bool = False
    region: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    pods: Pods = field(default_factory=Pods)
    mounts: Sequence[Mount] = ()
    scratch: Mount | None = None


def test_what_fits_is_no_problem() -> None:
    document = {
        "kind": "TrainJob",
        "trials": 3,
        "seconds": 3,
        "keep": True,
        "region": None,
        "labels": {"team": "vision"},
        "pods": {"memory": "1Gi", "volumes": [{"name": "a"}]},
    }
    assert find_misfits(Options, document, "options") == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"kind": "Pod"}, "options: kind must be one of Job, TrainJob, got 'Pod'"),
        ({"trials": 1.5}, "options: trials must be a whole number, got 1.5"),
        ({"trials": True}, "options: trials must be a whole number, got True"),
        ({"seconds": "9"}, "options: seconds must be a number, got '9'"),
        ({"keep": "yes"}, "options: keep must be true or false, got 'yes'"),
        ({"region": 3}, "options: region must be text or null, got 3"),
        ({"labels": {"team": 3}}, "options: labels must be an object, of text each, got {'team': 3}"),
        ({"pods": 3}, "options: pods must be an object, got 3"),
        ({"pods": {"memory": 3}}, "options: pods.memory must be text, got 3"),
        ({"pods": {"volumes": "a"}}, "options: pods.volumes must be a list, of an object each, got 'a'"),
        ({"pods": {"memroy": "1Gi"}}, "options: pods.memroy is unknown; did you mean memory?"),
        ({"quux": 1}, "options: quux is unknown"),
        ({"mounts": [{"path": "/a"}, {"path": 3}]}, "options: mounts[1].path must be text, got 3"),
        ({"mounts": [{"path": "/a", "sise": "1Gi"}]}, "options: mounts[0].sise is unknown; did you mean size?"),
        ({"mounts": [{"size": "1Gi"}]}, "options: mounts[0].path is missing"),
        ({"scratch": {"path": "/a", "size": 1}}, "options: scratch.size must be text, got 1"),
    ],
)
def test_what_does_not_fit_is_said_in_words(document: dict[str, Any], words: str) -> None:
    assert find_misfits(Options, document, "options") == [words]


def test_objects_in_lists_become_dataclasses() -> None:
    document = {"mounts": [{"path": "/a"}, {"path": "/b", "size": "1Gi"}], "pods": {"memory": "1Gi"}, "scratch": None}
    assert build_object(Options, document) == Options(
        mounts=(Mount("/a"), Mount("/b", "1Gi")), pods=Pods(memory="1Gi"), scratch=None
    )
