"""The launcher as a process, which is killed, told to end, and given an API server that fails.

It acts as the service account of ``manifests/katib``, through a proxy that makes the faults.
"""

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from kfp_image_tuning.engines.katib.session.cluster import GROUP, VERSION
from tests.cluster.bench import Bench, sleeping
from tests.cluster.control_plane import ControlPlane
from tests.cluster.launcher_process import LauncherProcess
from tests.emulators.api_server_proxy import ApiServerProxy
from tests.emulators.katib_controller import KatibStandIn
from tests.emulators.pod_end import DEATHS, SOON

Launch = Callable[..., LauncherProcess]
EXPERIMENTS = r"/namespaces/[\w-]+/experiments"


def trained(bench: Bench) -> int:
    """Trials that have ever begun: each leaves a folder."""
    return len([path for path in bench.place.models.glob("models/*/*") if path.is_dir()])


@pytest.mark.parametrize(
    "phase",
    [
        "before the Experiment is made",
        "when it is made, before the answer has come",
        "while trials run",
        "while results are collected",
    ],
)
def test_a_launcher_that_was_killed_is_followed_by_one_that_goes_on(
    bench: Bench, launch: Launch, proxy: ApiServerProxy, phase: str
) -> None:
    faults = {
        "before the Experiment is made": ("hold", rf"^POST .*{EXPERIMENTS}"),
        "when it is made, before the answer has come": ("hold_answer", rf"^POST .*{EXPERIMENTS}"),
        "while results are collected": ("hold", rf"^DELETE .*{EXPERIMENTS}"),
    }
    fault = proxy.add(*faults[phase]) if phase in faults else None  # type: ignore[arg-type]
    first = launch(sleeping(1), max_trials=4)
    if fault is not None:
        bench.wait_until(fault.reached.is_set)
    else:
        bench.wait_until(lambda: bench.place.agent.running == 2)
    first.kill()
    second = launch(sleeping(1), max_trials=4)
    assert second.wait() == 0, second.output
    assert [trial.status for trial in second.trials] == ["completed"] * 4
    assert (second.model / "model.safetensors").read_text() == "weights\n"
    assert trained(bench) == 4
    bench.wait_until_nothing_is_left()


def test_a_launcher_that_was_killed_between_two_experiments_is_followed_by_one_that_makes_the_other(
    bench: Bench, launch: Launch, proxy: ApiServerProxy
) -> None:
    fault = proxy.add("hold", rf"^POST .*{EXPERIMENTS}", after=1)
    search = {"search_mode": "conditional", "search_space": {"optimizer": ["sgd", "adam"]}, "max_trials": 4}
    first = launch(sleeping(1), **search)
    bench.wait_until(fault.reached.is_set)
    assert len(bench.objects("experiments")) == 1
    first.kill()
    second = launch(sleeping(1), **search)
    assert second.wait() == 0, second.output
    assert sorted(trial.hyperparameters["optimizer"] for trial in second.trials) == ["adam", "adam", "sgd", "sgd"]
    assert trained(bench) == 4
    bench.wait_until_nothing_is_left()


def test_a_search_that_is_over_is_collected_again_when_its_experiments_are_gone(
    bench: Bench, launch: Launch, proxy: ApiServerProxy
) -> None:
    first = launch(max_trials=3)
    assert first.wait() == 0, first.output
    bench.wait_until_nothing_is_left()
    before = len(proxy.requests)
    # Kubeflow repeats a task whose pod was lost before its outputs were stored.
    second = launch(max_trials=3)
    assert second.wait() == 0, second.output
    assert second.trials == first.trials
    assert (second.model / "model.safetensors").read_text() == "weights\n"
    assert "this search is over already" in second.output
    assert trained(bench) == 3
    assert not [request for request in proxy.requests[before:] if request.startswith("POST")]


def test_experiments_that_are_kept_stay_when_their_search_is_collected_again(bench: Bench, launch: Launch) -> None:
    keep = {"keep_experiments": True}
    first = launch(max_trials=3, options=keep)
    assert first.wait() == 0, first.output
    kept = bench.objects("experiments")
    assert len(kept) == 1
    second = launch(max_trials=3, options=keep)
    assert second.wait() == 0, second.output
    assert second.trials == first.trials
    assert bench.objects("experiments") == kept


def test_what_still_runs_of_a_search_that_is_over_is_ended(bench: Bench, launch: Launch) -> None:
    first = launch(sleeping(1), max_trials=40)
    bench.wait_until(lambda: first.output.count(" completed ") >= 3)
    first.kill()
    # As many as are wanted now were made before.
    second = launch(sleeping(1), max_trials=2, options={"keep_experiments": True})
    assert second.wait() == 0, second.output
    assert "this search is over already" in second.output
    bench.wait_until_nothing_is_left()


def test_a_search_that_was_over_goes_on_with_more_trials(bench: Bench, launch: Launch) -> None:
    assert launch(max_trials=2).wait() == 0
    second = launch(max_trials=5)
    assert second.wait() == 0, second.output
    assert (len(second.trials), trained(bench)) == (5, 5)
    assert "going on after 2 trials of Experiments that are gone" in second.output
    bench.wait_until_nothing_is_left()


def test_a_search_that_was_told_to_end_goes_on_after_its_finished_trials(bench: Bench, launch: Launch) -> None:
    search = {"search_mode": "conditional", "search_space": {"optimizer": ["sgd", "adam"]}, "max_trials": 6}
    first = launch(sleeping(2), **search)
    bench.wait_until(lambda: first.output.count(" completed ") >= 2)
    first.process.send_signal(signal.SIGTERM)
    assert first.wait() == 1
    bench.wait_until_nothing_is_left()
    kept = [trial.name for trial in first.trials if trial.status == "completed"]
    assert 2 <= len(kept) < 6
    second = launch(sleeping(2), **search)
    assert second.wait() == 0, second.output
    names = [trial.name for trial in second.trials]
    assert set(kept) <= set(names)
    assert len(set(names)) == 6
    assert sorted(trial.hyperparameters["optimizer"] for trial in second.trials) == ["adam"] * 3 + ["sgd"] * 3
    bench.wait_until_nothing_is_left()


def test_a_search_whose_experiment_somebody_deleted_goes_on_in_the_next_run(bench: Bench, launch: Launch) -> None:
    first = launch(sleeping(2), max_trials=5)
    bench.wait_until(lambda: first.output.count(" completed ") >= 2)
    (name,) = bench.objects("experiments")
    bench.custom.delete_namespaced_custom_object(GROUP, VERSION, bench.place.namespace, "experiments", name)
    assert first.wait() == 1
    assert "was deleted by somebody else" in first.output
    # With other pods it is the same search.
    second = launch({"priority_class": "system-node-critical"}, max_trials=5)
    assert second.wait() == 0, second.output
    kept = {trial.name for trial in first.trials if trial.status == "completed"}
    assert len(kept) >= 2
    assert kept <= {trial.name for trial in second.trials}
    assert len(second.trials) == 5
    bench.wait_until_nothing_is_left()


@pytest.mark.parametrize("kind", ["hold", "hold_answer"])
def test_a_launcher_that_is_told_to_end_while_it_starts_leaves_nothing_behind(
    bench: Bench, launch: Launch, proxy: ApiServerProxy, kind: Any
) -> None:
    creation = proxy.add(kind, rf"^POST .*{EXPERIMENTS}")
    launcher = launch(sleeping(60))
    bench.wait_until(creation.reached.is_set)
    launcher.process.send_signal(signal.SIGTERM)
    bench.wait_until(lambda: any(request.startswith("DELETE") for request in proxy.requests))
    creation.release.set()
    assert launcher.wait() == 1
    bench.wait_until_nothing_is_left()


def test_a_launcher_that_is_told_to_end_deletes_its_experiments_first_of_all(
    bench: Bench, launch: Launch, proxy: ApiServerProxy
) -> None:
    launcher = launch(sleeping(60))
    bench.wait_until(lambda: bench.place.agent.running == 2)
    before = len(proxy.requests)
    launcher.process.send_signal(signal.SIGTERM)
    assert launcher.wait() == 1
    after = proxy.requests[before:]
    deletions = [request for request in after if not request.startswith("GET")]
    assert len(deletions) == 1, deletions
    assert deletions[0].startswith("DELETE")
    assert "labelSelector=kfp-image-tuning" in deletions[0]
    assert "stopped by SIGTERM after 2 trials; its Experiments are deleted" in launcher.output
    assert "Traceback" not in launcher.output
    bench.wait_until_nothing_is_left()


def test_a_deletion_that_fails_on_the_signal_is_made_again(bench: Bench, launch: Launch, proxy: ApiServerProxy) -> None:
    launcher = launch(sleeping(60))
    bench.wait_until(lambda: bench.place.agent.running == 2)
    proxy.add("reset", rf"^DELETE .*{EXPERIMENTS}\?", times=1)
    proxy.add("status", rf"^DELETE .*{EXPERIMENTS}/", times=2, status=503)
    launcher.process.send_signal(signal.SIGTERM)
    assert launcher.wait() == 1
    bench.wait_until_nothing_is_left()


def test_bursts_of_refusals_delay_a_search_and_nothing_else(
    bench: Bench, launch: Launch, proxy: ApiServerProxy
) -> None:
    faults = [proxy.add("status", EXPERIMENTS, times=1, status=status) for status in (429, 500, 503)]
    faults += [proxy.add("status", r"/(trials|pods)\b", times=2, status=status) for status in (503, 429)]
    launcher = launch(max_trials=3)
    assert launcher.wait() == 0, launcher.output
    assert [fault.times for fault in faults] == [0] * 5
    assert [trial.status for trial in launcher.trials] == ["completed"] * 3
    assert trained(bench) == 3


def test_answers_that_are_lost_do_not_start_a_second_experiment(
    bench: Bench, launch: Launch, proxy: ApiServerProxy
) -> None:
    proxy.add("lost_answer", rf"^(POST|DELETE) .*{EXPERIMENTS}", times=3)
    launcher = launch(max_trials=3)
    assert launcher.wait() == 0, launcher.output
    assert (len(launcher.trials), trained(bench)) == (3, 3)
    bench.wait_until_nothing_is_left()


@pytest.mark.parametrize(("kind", "status"), [("expired", 200), ("status", 410)])
def test_a_watch_whose_place_in_history_is_gone_begins_anew(
    bench: Bench, launch: Launch, proxy: ApiServerProxy, kind: Any, status: int
) -> None:
    fault = proxy.add(kind, r"^GET .*watch=True", times=6, status=status)
    launcher = launch(sleeping(1), max_trials=4)
    assert launcher.wait() == 0, launcher.output
    assert fault.times == 0
    assert [trial.status for trial in launcher.trials] == ["completed"] * 4


def test_a_restart_of_the_api_server_is_survived_and_told(
    bench: Bench, launch: Launch, control_plane: ControlPlane
) -> None:
    launcher = launch(sleeping(2), max_trials=4)
    bench.wait_until(lambda: bench.place.agent.running == 2)
    control_plane.stop_api_server()
    time.sleep(2)
    control_plane.start_api_server()
    assert launcher.wait(120) == 0, launcher.output
    assert [trial.status for trial in launcher.trials] == ["completed"] * 4
    assert "the API server does not answer" in launcher.output


def test_a_policy_that_denies_the_experiment_is_quoted(bench: Bench, launch: Launch, katib: KatibStandIn) -> None:
    katib.policy = "team budget is used up"
    launcher = launch()
    assert launcher.wait() == 1
    _, code, last, _ = launcher.output.strip().splitlines()[-4:]
    assert code == "kfp-image-tuning: ERROR engine"
    assert "team budget is used up" in last
    assert "Traceback" not in launcher.output
    bench.wait_until_nothing_is_left()


def test_without_its_role_the_launcher_says_what_to_apply(bench: Bench, launch: Launch) -> None:
    launcher = launch(options={"namespace": "default"})
    assert launcher.wait() == 1
    last = launcher.output.strip().splitlines()[-2]
    assert "is forbidden" in last
    assert "manifests/katib" in last


@pytest.mark.parametrize("seconds", DEATHS)
def test_experiments_are_deleted_though_the_container_is_gone_soon(
    bench: Bench, launch: Launch, proxy: ApiServerProxy, seconds: float
) -> None:
    launcher = launch(sleeping(60), in_pod=True)
    bench.wait_until(lambda: bench.place.agent.running == 2)
    before = len(proxy.requests)
    assert launcher.pod is not None
    asked = launcher.pod.terminate(seconds)
    bench.wait_until(lambda: any(request.startswith("DELETE") for request in proxy.requests[before:]))
    heard = time.monotonic() - asked
    launcher.pod.wait()
    print(f"gone after {seconds} s: the deletion arrived after {heard:.3f} s")
    assert heard < SOON
    bench.wait_until_nothing_is_left()


def test_trials_end_when_no_launcher_comes_back(bench: Bench, launch: Launch) -> None:
    # More epochs than a test can wait for.
    search = {"epochs": 5000, "max_trials": 2, "max_failed_trials": 0, "search_space": {"optimizer": "sgd"}}
    pods, options = {"image": "trainer"}, {"orphan_timeout_seconds": 20}
    first = launch(pods, options=options, **search)
    bench.wait_until(lambda: len(list(bench.place.models.glob("models/*/*/model.json"))) == 2)
    first.kill()
    second = launch(pods, options=options, **search)
    bench.wait_until(lambda: "going on with" in second.output)
    time.sleep(22)
    assert bench.place.agent.running == 2
    second.kill()
    lost = time.monotonic()
    bench.wait_until(lambda: bench.place.agent.running == 0)
    print(f"launcher gone for good, timeout 20 s: no trial runs after {time.monotonic() - lost:.1f} s")
    assert len(bench.jobs()) == 2
    assert trained(bench) == 2
