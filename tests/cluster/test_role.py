"""The Role of ``manifests/katib`` against what the launcher asks for: all of it is used, nothing is denied.

The witness is the API server's own audit log of everything that the launcher's service account did.
"""

import json
import signal
from collections.abc import Callable

from kfp_image_tuning.engines.katib.request.options import DEFAULT_IMAGE
from tests.cluster.bench import Bench, sleeping
from tests.cluster.control_plane import ControlPlane
from tests.cluster.launcher_process import LauncherProcess, read_manifests

Right = tuple[str, str, str]
"""Group, resource (with its subresource) and verb."""


def granted() -> set[Right]:
    (role,) = [document for document in read_manifests() if document["kind"] == "Role"]
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def asked(control_plane: ControlPlane, namespace: str) -> tuple[set[Right], list[str]]:
    """What was asked for in a namespace, and what of it was denied."""
    assert control_plane.audit_log is not None
    rights, denied = set(), []
    for line in control_plane.audit_log.read_text().splitlines():
        event = json.loads(line)
        what = event.get("objectRef", {})
        if what.get("namespace") != namespace or not event["user"]["username"].endswith(":image-tuning-launcher"):
            continue
        resource = "/".join(filter(None, [what["resource"], what.get("subresource", "")]))
        rights.add((what.get("apiGroup", ""), resource, event["verb"]))
        if event.get("responseStatus", {}).get("code") == 403:
            denied.append(f"{event['verb']} {resource}")
    return rights, denied


def test_the_role_allows_what_the_launcher_does_and_nothing_else(
    bench: Bench, launch: Callable[..., LauncherProcess], control_plane: ControlPlane
) -> None:
    images = bench.place.agent.images
    images[DEFAULT_IMAGE] = images["patient"]
    public = {"image": ""}
    first = launch(public, max_trials=2)
    bench.wait_until(lambda: bench.place.agent.running == 2)
    first.kill()
    # Takes the search up, with more trials, and ends by itself.
    second = launch(public, max_trials=3)
    bench.wait_until(lambda: "going on with" in second.output)
    (bench.place.models / "models" / "go").touch()
    assert second.wait() == 0, second.output
    # Waits for a quota, and is told to end.
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}
    bench.core.create_namespaced_resource_quota(bench.place.namespace, quota)
    bench.wait_until(
        lambda: bench.core.read_namespaced_resource_quota("small", bench.place.namespace).status.hard is not None
    )
    third = launch(sleeping(60), run="run-2")
    bench.wait_until(lambda: "exceeded quota: small" in third.output)
    third.process.send_signal(signal.SIGTERM)
    assert third.wait() == 1
    rights, denied = asked(control_plane, bench.place.namespace)
    assert not denied
    assert rights == granted()
