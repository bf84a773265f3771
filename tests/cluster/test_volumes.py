"""Trials on volume claims, with a node that mounts as a kubelet does: one claim in two volumes, and nothing starts."""

import time

import pytest

from tests.cluster.bench import Bench, flat
from tests.emulators.node_agent import CREATING

QUICK = {"image": "quick"}


def test_data_and_models_on_one_claim(bench: Bench) -> None:
    search, options = flat(max_trials=2), bench.options(data="pvc://models/dataset", output_uri="pvc://models")
    result = bench.run(search, options)
    assert [trial.status for trial in result.trials] == ["completed"] * 2
    bench.wait_until_nothing_is_left()


def test_a_pod_with_two_volumes_of_one_claim_never_starts_and_no_event_says_so(bench: Bench) -> None:
    source = {"persistentVolumeClaim": {"claimName": "images"}}
    container = {"name": "main", "image": "quick", "command": ["python3"]}
    spec = {"containers": [container], "volumes": [{"name": name, **source} for name in ("a", "b")]}
    bench.core.create_namespaced_pod(bench.place.namespace, {"metadata": {"name": "twice"}, "spec": spec})

    def status() -> object:
        return bench.core.read_namespaced_pod_status("twice", bench.place.namespace).status

    bench.wait_until(lambda: status().container_statuses)  # type: ignore[attr-defined]
    time.sleep(2)
    found = status()
    assert found.phase == "Pending"  # type: ignore[attr-defined]
    (state,) = found.container_statuses  # type: ignore[attr-defined]
    assert state.state.waiting.reason == CREATING["reason"]
    about = "involvedObject.name=twice,type=Warning"
    assert not bench.core.list_namespaced_event(bench.place.namespace, field_selector=about).items


def test_a_search_says_what_keeps_its_pods_from_starting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kfp_image_tuning.engines.katib.session.obstacles.USUAL_START_SECONDS", 1.0)
    secret = {"name": "keys", "secret": {"secretName": "s3-keys"}}
    pods = {**QUICK, "volumes": (secret,), "volume_mounts": ({"name": "keys", "mountPath": "/keys"},)}
    thread, outcome = bench.in_background(flat(max_trials=2), bench.options(pods=pods))
    bench.wait_until(lambda: any('secret "s3-keys" not found' in line for line in bench.lines))
    assert any(
        "2 trials: on node" in line and "not started (ContainerCreating): FailedMount" in line for line in bench.lines
    )
    # What was missing comes, and the trials run.
    bench.core.create_namespaced_secret(bench.place.namespace, {"metadata": {"name": "s3-keys"}})
    thread.join(timeout=60)
    assert [trial.status for trial in outcome[0].trials] == ["completed"] * 2


def test_a_search_that_was_started_with_one_claim_in_two_volumes_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfp_image_tuning.engines.katib.session.obstacles.USUAL_START_SECONDS", 1.0)
    # As an Experiment from elsewhere may have it, or a training runtime.
    monkeypatch.setattr(
        "kfp_image_tuning.engines.katib.request.trial_pod.merge_claims", lambda volumes, mounts: (volumes, mounts)
    )
    options = bench.options(data="pvc://models/dataset", output_uri="pvc://models", pending_timeout_seconds=8)
    thread, outcome = bench.in_background(flat(max_trials=2), options)
    thread.join(timeout=60)
    assert "two of the pod's volumes are the claim models" in str(outcome[0])
    assert any("2 trials: on node" in line and "not started (ContainerCreating)" in line for line in bench.lines)
    bench.wait_until_nothing_is_left()
