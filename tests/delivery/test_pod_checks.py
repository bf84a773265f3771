"""Pods that would not start, or would start with less than was asked for, are refused before the upload."""

import pytest
from kfp import dsl, kubernetes

from kfp_image_tuning.delivery.pod_checks import find_broken_pods
from tests.pipelines.compiled_documents import compile_plainly


@dsl.component(base_image="python:3.11-slim")
def work() -> None:
    pass


def problems_of(*settings: tuple[str, dict[str, object]]) -> list[str]:
    """What is found when functions of kfp.kubernetes are applied to a task."""

    @dsl.pipeline(name="settings")
    def pipeline() -> None:
        task = work()
        for function, arguments in settings:
            getattr(kubernetes, function)(task, **arguments)

    return list(find_broken_pods(compile_plainly(pipeline)))


def claim(name: str, path: str, **more: str) -> tuple[str, dict[str, object]]:
    return "mount_pvc", {"pvc_name": name, "mount_path": path, **more}


def secret(name: str, path: str) -> tuple[str, dict[str, object]]:
    return "use_secret_as_volume", {"secret_name": name, "mount_path": path}


def empty(name: str, path: str) -> tuple[str, dict[str, object]]:
    return "empty_dir_mount", {"volume_name": name, "mount_path": path}


def variable(secret_name: str, key: str, name: str) -> tuple[str, dict[str, object]]:
    return "use_secret_as_env", {"secret_name": secret_name, "secret_key_to_env": {key: name}}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ([claim("images-1.0", "/data")], "work: volume claim 'images-1.0' cannot be mounted: KFP gives the volume"),
        ([("use_config_map_as_volume", {"config_map_name": "a.b", "mount_path": "/a"})], "work: ConfigMap 'a.b' can"),
        ([claim("team", "/a"), secret("team", "/b")], "Secret and volume claim are both called 'team'"),
        ([empty("a", "/a"), empty("a", "/b")], "work: two volumes are called 'a'"),
        ([claim("kfp-launcher", "/a")], "has the name of a volume of KFP's own"),
        ([claim("a", "/a"), secret("b", "/a/")], "2 volumes are mounted at /a, and only one would be there"),
        ([claim("a", "data")], "mount path 'data' must be absolute"),
        ([claim("a", "/")], "nothing can be mounted at /"),
        ([variable("a", "k", "KEY"), variable("b", "k", "KEY")], "environment variable KEY is set 2 times"),
        ([variable("a", "k", "1KEY")], "'1KEY' is not a name of an environment variable"),
    ],
)
def test_what_would_fail_in_a_run_is_told(settings: list[tuple[str, dict[str, object]]], words: str) -> None:
    problems = problems_of(*settings)
    assert len(problems) == 1
    assert words in problems[0]


def test_one_claim_at_two_places_is_one_volume_with_two_mounts() -> None:
    assert problems_of(claim("team", "/data", sub_path="data"), claim("team", "/work", sub_path="work")) == []
