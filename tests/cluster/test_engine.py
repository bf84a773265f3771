"""The Katib engine on a real API server, scheduler and Job controller, with a stand-in for Katib."""

import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.engines.katib.session.cluster import GROUP, VERSION
from kfp_image_tuning.model.model_files import load_model
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.search.search import Search
from kfp_image_tuning.search.search_space import SearchSpace
from kfp_image_tuning.steps.tuning_settings import summarize
from tests.cluster.bench import Bench, flat, sleeping
from tests.emulators.katib_controller import INJECTION, KatibStandIn
from tests.emulators.object_store import object_store
from tests.engines.katib.searches import make_search


def test_a_search_runs_to_its_end_and_leaves_nothing(bench: Bench) -> None:
    result = bench.run(flat())
    assert (result.status, len(result.trials)) == ("completed", 3)
    for trial in result.trials:
        assert (trial.status, trial.objective, trial.best_epoch) == ("completed", 0.8, 1)
        assert [epoch.validation_accuracy for epoch in trial.history] == [0.5, 0.8]
        assert trial.hyperparameters["optimizer"] in ("sgd", "adam", "rmsprop", "nag")
    best = result.best_trial
    assert best is not None
    assert best.model_uri == f"pvc://models/{best.name.rpartition('-')[0]}/{best.name}"
    assert (bench.folder / "model" / "model.safetensors").read_text() == "weights\n"
    assert TuningResult.load(bench.folder / "result.json") == result
    bench.wait_until_nothing_is_left()


def test_real_trainings_in_pods_end_in_a_model_that_loads(bench: Bench, digits_dataset: Path) -> None:
    space = SearchSpace.customized({"optimizer": "sgd", "mini_batch_size": {"min": 8, "max": 64}})
    budget = Budget(max_trials=2, parallel_trials=2)
    search = Search.for_dataset(space, summarize(Dataset.load(digits_dataset)), epochs=2, budget=budget)
    env = {"OMP_NUM_THREADS": "1"}
    result = bench.run(search, bench.options(pods={"image": "trainer", "env": env}))
    best = result.best_trial
    assert best is not None
    document = load_model(bench.folder / "model").document
    assert document.validation_accuracy == pytest.approx(best.objective, abs=1e-6)
    assert (document.epoch, len(best.history)) == (best.best_epoch, 2)
    for name, value in best.hyperparameters.items():
        assert document.hyperparameters[name] == str(value)


def test_a_conditional_search_is_one_result_of_several_experiments(bench: Bench) -> None:
    search = make_search({"optimizer": ["sgd", "adam"]}, max_trials=3, parallel_trials=2)
    result = bench.run(search, bench.options(keep_experiments=True))
    assert sorted(name.rpartition("-")[2] for name in bench.objects("experiments")) == ["adam", "sgd"]
    used = [trial.hyperparameters["optimizer"] for trial in result.trials]
    assert sorted(used) == ["adam", "sgd", "sgd"]
    for trial in result.trials:
        assert ("momentum" in trial.hyperparameters) == (trial.hyperparameters["optimizer"] == "sgd")


def test_two_gpus_take_two_trials_at_a_time_and_the_others_are_said_to_wait(bench: Bench) -> None:
    slow = bench.options(pods=sleeping(3))
    thread, outcome = bench.in_background(flat(max_trials=4, parallel_trials=4), slow)
    most = 0
    while thread.is_alive():
        most = max(most, bench.place.agent.running)
        time.sleep(0.05)
    assert most == 2
    assert len(outcome[0].trials) == 4
    assert any("2 trials: waits for a node" in line and "Insufficient nvidia.com/gpu" in line for line in bench.lines)


def test_a_second_process_of_the_same_run_goes_on_with_its_search(bench: Bench) -> None:
    options = bench.options(pods=sleeping(1))
    search = flat(max_trials=4)
    _, events = bench.launched(search, options)
    while next(events).kind != "finished":
        pass
    # The first process is gone without a word.
    result = bench.run(search, options)
    assert len(result.trials) == 4
    assert len({trial.name.rpartition("-")[0] for trial in result.trials}) == 1
    assert any("going on with" in line for line in bench.lines)
    assert isinstance(events, Generator)
    events.close()


def test_more_trials_are_added_to_a_search_that_runs(bench: Bench) -> None:
    options = bench.options()
    first = bench.launched(flat(max_trials=2), options)
    assert len(bench.run(flat(max_trials=4), options).trials) == 4
    del first


def test_a_foreign_experiment_is_not_touched(bench: Bench) -> None:
    engine = bench.engine(bench.options())
    plan = engine.plan(flat())
    document = json.loads(json.dumps(plan.request["documents"][0]))
    del document["metadata"]["labels"]
    bench.custom.create_namespaced_custom_object(GROUP, VERSION, bench.place.namespace, "experiments", document)
    with pytest.raises(EngineError, match="that this project has not made"):
        next(engine.start(plan).events())
    assert bench.objects("experiments") == [document["metadata"]["name"]]


def test_another_search_under_the_same_run_is_refused_and_changes_nothing(bench: Bench) -> None:
    first = bench.launched(make_search({"optimizer": ["sgd", "adam"]}, max_trials=3, parallel_trials=2))
    before = bench.objects("experiments")
    (bench.folder / "result.json").write_text("what was there")
    with pytest.raises(EngineError, match="searches something else"):
        bench.run(make_search({"optimizer": "sgd", "learning_rate": 0.1}, max_trials=2, parallel_trials=2))
    assert len(before) == 2
    assert bench.objects("experiments") == before
    assert (bench.folder / "result.json").read_text() == "what was there"
    del first


def test_what_is_applied_is_what_the_plan_shows(bench: Bench) -> None:
    engine = bench.engine(bench.options(pods=sleeping(60)))
    plan = engine.plan(make_search({"optimizer": ["sgd", "adam"]}, max_trials=3, parallel_trials=2))
    events = engine.start(plan).events()
    next(events)
    for document in plan.request["documents"]:
        name = document["metadata"]["name"]
        found = bench.custom.get_namespaced_custom_object(GROUP, VERSION, bench.place.namespace, "experiments", name)
        assert document["spec"].items() <= found["spec"].items()
        assert document["metadata"]["labels"].items() <= found["metadata"]["labels"].items()


def test_what_an_earlier_attempt_left_is_removed(bench: Bench) -> None:
    first = bench.launched(flat())
    (left,) = bench.objects("experiments")
    bench.run(make_search({"optimizer": "sgd"}, max_trials=2, parallel_trials=2))
    assert any(f"{left} of an earlier attempt is removed" in line for line in bench.lines)
    bench.wait_until(lambda: not bench.objects("experiments"))
    del first


def test_failed_trials_end_the_search_and_say_why(bench: Bench) -> None:
    with pytest.raises(EngineError, match="ended without a model") as raised:
        bench.run(flat(max_failed_trials=1), bench.options("failing"))
    assert "its container ended with status" in str(raised.value)
    assert "cannot read train.rec" in str(raised.value)
    assert TuningResult.load(bench.folder / "result.json").status == "failed"


def test_lack_of_memory_is_named_with_the_limit(bench: Bench) -> None:
    with pytest.raises(EngineError, match=r"killed for lack of memory \(limit 256Mi\)"):
        bench.run(flat(max_failed_trials=0), bench.options(pods={"image": "greedy", "memory": "256Mi"}))


def test_a_search_that_succeeds_without_an_objective_is_a_failure(bench: Bench) -> None:
    with pytest.raises(EngineError, match="collected no Validation-accuracy"):
        bench.run(flat(max_trials=1, parallel_trials=1), bench.options("silent"))


def test_a_namespace_in_which_katib_collects_nothing_is_told_at_once(bench: Bench) -> None:
    bench.core.patch_namespace(bench.place.namespace, {"metadata": {"labels": dict.fromkeys(INJECTION)}})
    with pytest.raises(EngineError, match=r"kubectl label namespace team-.*metrics-collector-injection=enabled"):
        bench.run(flat())
    bench.wait_until_nothing_is_left()


def test_an_experiment_that_succeeds_without_a_trial_is_a_failure(bench: Bench, katib: KatibStandIn) -> None:
    katib.paused = True
    thread, outcome = bench.in_background(flat())
    bench.wait_until(lambda: bench.objects("experiments"))
    (name,) = bench.objects("experiments")
    ended = {"type": "Succeeded", "status": "True", "reason": "ExperimentSuggestionEndReached", "message": "End"}
    place = (GROUP, VERSION, bench.place.namespace, "experiments", name)
    bench.custom.patch_namespaced_custom_object_status(*place, {"status": {"conditions": [ended]}})
    thread.join(timeout=60)
    assert isinstance(outcome[0], EngineError)
    assert "the search ended without a model" in str(outcome[0])
    bench.wait_until_nothing_is_left()


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ({"image": "unknown/image"}, "the image unknown/image cannot be pulled"),
        ({"image": "quick", "gpus": 3}, "Insufficient nvidia.com/gpu"),
        ({"image": "quick", "node_selector": {"zone": "b"}}, "waits for a node"),
    ],
)
def test_a_search_that_only_waits_is_given_up_with_the_reason(bench: Bench, pods: dict[str, Any], words: str) -> None:
    with pytest.raises(EngineError, match="no trial has run for 5 s") as raised:
        bench.run(flat(), bench.options(pods=pods, pending_timeout_seconds=5))
    assert words in str(raised.value)
    bench.wait_until_nothing_is_left()


def test_a_quota_that_refuses_pods_is_named(bench: Bench) -> None:
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}
    bench.core.create_namespaced_resource_quota(bench.place.namespace, quota)
    time.sleep(2)
    with pytest.raises(EngineError, match="exceeded quota: small"):
        bench.run(flat(), bench.options(pending_timeout_seconds=10))


def test_a_stop_is_one_call_and_keeps_what_was_reached(bench: Bench) -> None:
    session, events = bench.launched(flat(), bench.options(pods=sleeping(60)))
    finished = []
    for event in events:
        if event.kind == "progress":
            session.stop()
        if event.kind == "finished":
            finished.append(event.trial)
    assert {trial.status for trial in finished if trial} == {"stopped"}
    assert 0.5 in [trial.objective for trial in finished if trial]
    bench.wait_until_nothing_is_left()


def test_trials_that_are_stopped_leave_their_models_in_an_object_store(
    bench: Bench, digits_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = SearchSpace.customized({"optimizer": "sgd", "mini_batch_size": {"min": 8, "max": 64}})
    budget = Budget(max_trials=1, parallel_trials=1)
    search = Search.for_dataset(space, summarize(Dataset.load(digits_dataset)), epochs=500, budget=budget)
    with object_store("images") as access:
        for name, value in access.items():
            monkeypatch.setenv(name, value)
        env = {**access, "OMP_NUM_THREADS": "1"}
        options = bench.options(output_uri="s3://images/models", pods={"image": "trainer", "env": env})
        session, events = bench.launched(search, options)
        seen = []
        for event in events:
            seen.append(event)
            if event.kind == "progress":
                session.stop()
        session.result()
    last = next(event.trial for event in reversed(seen) if event.trial is not None)
    assert last.status == "stopped"
    document = load_model(bench.folder / "model").document
    assert document.validation_accuracy >= last.history[0].validation_accuracy


def test_a_trial_that_was_stopped_without_a_model_is_not_the_best(bench: Bench) -> None:
    session, events = bench.launched(flat(), bench.options("unsaved"))
    finished = []
    for event in events:
        if event.kind == "progress":
            session.stop()
        if event.kind == "finished" and event.trial is not None:
            finished.append(event.trial)
    assert {(trial.status, trial.objective, trial.model_uri) for trial in finished} == {("stopped", None, None)}
    assert "it was at 0.5000 when it was ended, and left no model" in [trial.note for trial in finished]
    session.result()
    assert not bench.folder.joinpath("model").exists()


def test_bad_trials_are_ended_early_and_keep_what_they_reached(bench: Bench) -> None:
    result = bench.run(flat(max_trials=5, parallel_trials=1), bench.options("fading"))
    assert [trial.status for trial in result.trials] == ["completed"] * 3 + ["early_stopped"] * 2
    for trial in result.trials[3:]:
        assert len(trial.history) == 4
        assert trial.objective == max(epoch.validation_accuracy for epoch in trial.history)
        assert trial.objective < 0.2
    assert result.best_trial is not None
    assert result.best_trial.objective == 0.85


def test_the_objective_is_the_best_epochs_and_not_the_last_ones(bench: Bench) -> None:
    result = bench.run(flat(max_trials=1, parallel_trials=1), bench.options("falling"))
    (trial,) = result.trials
    assert (trial.objective, trial.best_epoch, trial.history[-1].validation_accuracy) == (0.9, 0, 0.3)
    (experiment,) = result.engine_details["experiments"]
    assert experiment["optimal_trial"] == trial.name


def test_a_trial_that_runs_too_long_is_ended_and_its_limit_is_named(bench: Bench) -> None:
    pods = {**sleeping(60), "max_trial_seconds": 2}
    with pytest.raises(EngineError, match="longer than max_trial_seconds allows"):
        bench.run(flat(max_trials=1, parallel_trials=1, max_failed_trials=0), bench.options(pods=pods))


def test_a_pod_that_the_cluster_does_not_admit_is_named_with_the_reason(bench: Bench) -> None:
    limit = {"metadata": {"name": "small"}, "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}}
    bench.core.create_namespaced_limit_range(bench.place.namespace, limit)
    with pytest.raises(EngineError, match="maximum memory usage per Container is 1Gi"):
        bench.run(flat(), bench.options(pending_timeout_seconds=10, pods={"memory": "2Gi"}))
    bench.wait_until_nothing_is_left()


def test_an_experiment_that_somebody_deletes_ends_the_search_with_an_error(bench: Bench) -> None:
    options = bench.options(pods=sleeping(60))
    thread, outcome = bench.in_background(flat(), options)
    bench.wait_until(lambda: bench.place.agent.running == 2)
    (name,) = bench.objects("experiments")
    bench.custom.delete_namespaced_custom_object(GROUP, VERSION, bench.place.namespace, "experiments", name)
    thread.join(timeout=60)
    assert "was deleted by somebody else" in str(outcome[0])
    bench.wait_until(lambda: bench.place.agent.running == 0)


def test_an_experiment_that_goes_before_the_first_look_at_it_ends_the_search_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"NAME": "gone", "UID": "0", "NAMESPACE": bench.place.namespace}.items():
        # Kubernetes collects what belongs to a pod that is not there.
        monkeypatch.setenv(f"KFP_POD_{name}", value)
    _, events = bench.launched(flat(), bench.options(pods=sleeping(60)))
    bench.wait_until(lambda: not bench.objects("experiments"))
    with pytest.raises(EngineError, match="was deleted by somebody else"):
        for _ in events:
            pass


def test_the_experiment_belongs_to_the_launchers_pod_and_to_the_next_one_after_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = bench.core

    def make_launcher(name: str) -> None:
        spec = {"containers": [{"name": "main", "image": "quick", "command": ["sleep", "60"]}], "nodeName": "elsewhere"}
        core.create_namespaced_pod(bench.place.namespace, {"metadata": {"name": name}, "spec": spec})
        uid = core.read_namespaced_pod(name, bench.place.namespace).metadata.uid
        for key, value in {"NAME": name, "UID": uid, "NAMESPACE": bench.place.namespace}.items():
            monkeypatch.setenv(f"KFP_POD_{key}", value)

    options = bench.options(pods=sleeping(60))
    launched = []
    for name in ("launcher-1", "launcher-2"):
        make_launcher(name)
        launched.append(bench.launched(flat(), options))
    core.delete_namespaced_pod("launcher-1", bench.place.namespace, grace_period_seconds=0)
    time.sleep(3)
    assert bench.objects("experiments")
    core.delete_namespaced_pod("launcher-2", bench.place.namespace, grace_period_seconds=0)
    bench.wait_until_nothing_is_left()


def test_the_webhook_refuses_what_our_validation_would_refuse(bench: Bench) -> None:
    engine = bench.engine(bench.options())
    document = json.loads(json.dumps(engine.plan(flat()).request["documents"][0]))
    document["spec"]["parallelTrialCount"] = 99
    with pytest.raises(client.ApiException) as raised:
        bench.custom.create_namespaced_custom_object(GROUP, VERSION, bench.place.namespace, "experiments", document)
    assert "99 is more than maxTrialCount" in raised.value.body


def test_katib_that_has_not_started_yet_is_said_to_be_waited_for(bench: Bench, katib: KatibStandIn) -> None:
    katib.paused = True
    thread, outcome = bench.in_background(flat(max_trials=1, parallel_trials=1))
    bench.wait_until(lambda: any("has not made a trial yet" in line for line in bench.lines))
    katib.paused = False
    thread.join(timeout=60)
    assert outcome[0].status == "completed"
