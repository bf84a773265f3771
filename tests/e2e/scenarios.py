"""What is tried on a cluster, in order: each scenario is a function that raises if it does not come out.

A scenario returns the run that it is about, or None, and what is to be noted of it.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.e2e.bench import SPACE, Bench
from tests.e2e.composition import COMPOSITION, write_composition
from tests.e2e.outcomes import ScenarioFailed, Skipped
from tests.e2e.sagemaker import tune_on_sagemaker

Outcome = tuple[str | None, str]
LOCAL, KATIB = "image-tuning-local", "image-tuning-katib"
SEARCH: Mapping[str, Any] = {
    "data_test_fraction": 0.2,
    "tune_search_space": SPACE,
    "tune_max_trials": 2,
    "tune_epochs": 2,
}
ON_KATIB: Mapping[str, Any] = {"tune_gpus": 0, "tune_search_mode": "flat", "tune_parallel_trials": 2}
UNTIL_NOTHING_RUNS = 60.0
"""Seconds after Terminate; a step is granted 30."""
INTERVAL = 15
"""Seconds between two runs of the recurring run."""


def local_pipeline(bench: Bench) -> Outcome:
    run = bench.kubeflow.start(bench.compile("local"), {"data_images": bench.images, **SEARCH})
    bench.kubeflow.succeed(run)
    return run, accuracy(bench, LOCAL, run)


def composition(bench: Bench) -> Outcome:
    package = bench.folder / "composition.yaml"
    write_composition(package, bench.compile("local"), bench.step_image)
    run = bench.kubeflow.start(package, {"images": bench.images, "search_space": SPACE})
    bench.kubeflow.succeed(run)
    files = bench.store.read_output(COMPOSITION, run, "deployed")["files"]
    expect("model.safetensors" in files, f"the step after ours got {files}")
    return run, "the model is deployed"


def recurring_run(bench: Bench) -> Outcome:
    # {run} is for volumes; here it is tried without one.
    parameters = {"data_images": bench.images, **SEARCH, "tune_work_directory": "/tmp/searches/{run}"}
    run = bench.kubeflow.first_recurring_run(bench.compile("local"), parameters, INTERVAL)
    bench.kubeflow.succeed(run)
    return run, accuracy(bench, LOCAL, run)


def terminate_local(bench: Bench) -> Outcome:
    more = {"tune_max_trials": 60, "tune_max_seconds": 40.0}
    run = bench.kubeflow.start(bench.compile("local"), {"data_images": bench.images, **SEARCH, **more})
    began = "trial-001 completed"
    state = bench.kubeflow.wait(run, until=lambda: began in bench.cluster.running_logs(run))
    expect(state == "RUNNING", f"the run is {state} before it could be terminated\n{bench.cluster.explain(run)}")
    seconds = terminate(bench, run)
    bench.terminated["local"] = run
    return run, f"nothing runs after {seconds:.0f} s"


def resume_local(bench: Bench) -> Outcome:
    run = retry(bench, "local")
    return run, accuracy(bench, LOCAL, run)


def katib_pipeline(bench: Bench) -> Outcome:
    need_katib(bench)
    run = bench.kubeflow.start(bench.compile("katib"), katib_parameters(bench))
    bench.kubeflow.succeed(run)
    expect_no_experiments(bench)
    return run, accuracy(bench, KATIB, run)


def katib_from_here(bench: Bench) -> Outcome:
    need_katib(bench)
    output = bench.folder / "katib-run"
    words = ["run", "--engine", "katib", "--data", str(bench.digits), "--output", str(output)]
    words += ["--storage", f"minio://{bench.settings.bucket}/{bench.name}/katib"]
    words += ["--namespace", bench.settings.namespace, "--gpus", "0", "--search-mode", "flat", "--parallel-trials", "2"]
    words += ["--max-trials", "3", "--epochs", "2", "--test-fraction", "0.2", "--search-space", json.dumps(SPACE)]
    words += ["--katib-options", json.dumps(bench.katib_options())]
    words += ["--image", bench.settings.image] if bench.settings.image else []
    access, secret = bench.keys
    variables = {"AWS_ENDPOINT_URL": bench.settings.store, "AWS_REGION": "us-east-1"}
    bench.run_command(*words, variables=variables | {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret})
    result = json.loads((output / "result.json").read_text(encoding="utf-8"))
    states = [trial["status"] for trial in result["trials"]]
    expect(states == ["completed"] * 3, f"the trials are {states}")
    expect((output / "model" / "model.safetensors").is_file(), "there is no model")
    expect_no_experiments(bench)
    return None, "3 trials"


def terminate_katib(bench: Bench) -> Outcome:
    need_katib(bench)
    run = bench.kubeflow.start(bench.compile("katib"), {**katib_parameters(bench), "tune_max_trials": 6})
    state = bench.kubeflow.wait(run, until=lambda: bench.cluster.finished_trials(bench.new_experiments()))
    expect(state == "RUNNING", f"the run is {state} before it could be terminated\n{bench.cluster.explain(run)}")
    bench.finished_trials = bench.cluster.finished_trials(bench.new_experiments())
    seconds = terminate(bench, run)
    expect_no_experiments(bench)
    bench.terminated["katib"] = run
    return run, f"nothing runs after {seconds:.0f} s"


def resume_katib(bench: Bench) -> Outcome:
    run = retry(bench, "katib")
    expect_no_experiments(bench)
    result = bench.store.read_output(KATIB, run, "tuning_result")
    names = {trial["name"] for trial in result["trials"]}
    lost = bench.finished_trials - names
    expect(len(names) == 6 and not lost, f"the result has {len(names)} trials, not 6, and lacks {sorted(lost)}")
    return run, f"{len(bench.finished_trials)} of 6 trials were kept"


def sagemaker_pipeline(bench: Bench) -> Outcome:
    return tune_on_sagemaker(bench, {"data_images": bench.images, **SEARCH})


SCENARIOS: Mapping[str, Callable[[Bench], Outcome]] = {
    "local": local_pipeline,
    "composition": composition,
    "recurring": recurring_run,
    "terminate": terminate_local,
    "resume": resume_local,
    "katib": katib_pipeline,
    "katib-from-here": katib_from_here,
    "katib-terminate": terminate_katib,
    "katib-resume": resume_katib,
    "sagemaker": sagemaker_pipeline,
}


def terminate(bench: Bench, run: str) -> float:
    """Terminate a run; returns the seconds until nothing of it was left."""
    began = time.monotonic()
    experiments = bench.new_experiments() if bench.has_katib else set()
    bench.kubeflow.terminate(run)
    while True:
        seconds = time.monotonic() - began
        left = bench.cluster.pods(run, "Pending", "Running")
        if experiments:
            left += [*bench.new_experiments(), *bench.cluster.trial_pods(experiments)]
        if not left:
            break
        expect(seconds < UNTIL_NOTHING_RUNS, f"{seconds:.0f} s after Terminate there are still {', '.join(left)}")
        time.sleep(0.5)
    state = bench.kubeflow.wait(run)
    expect(state in ("FAILED", "CANCELED"), f"the terminated run is {state}")
    return seconds


def retry(bench: Bench, engine: str) -> str:
    """Retry the run that was terminated, until it succeeds."""
    run = bench.terminated.get(engine)
    if run is None:
        raise Skipped("no run was terminated before")
    bench.kubeflow.retry(run)
    bench.kubeflow.succeed(run)
    return run


def accuracy(bench: Bench, pipeline: str, run: str) -> str:
    """The test accuracy in the evaluation that a run has left."""
    value = bench.store.read_output(pipeline, run, "evaluation")["accuracy"]
    expect(0 <= value <= 1, f"the evaluation has the accuracy {value}")
    return f"accuracy {value:.2f}"


def katib_parameters(bench: Bench) -> dict[str, Any]:
    options = {"tune_katib_options": dict(bench.settings.katib_options)} if bench.settings.katib_options else {}
    return {"data_images": bench.images, **SEARCH, **ON_KATIB, **options}


def need_katib(bench: Bench) -> None:
    if not bench.has_katib:
        raise Skipped("the cluster has no Katib")


def expect_no_experiments(bench: Bench) -> None:
    deadline = time.monotonic() + UNTIL_NOTHING_RUNS
    while (left := bench.new_experiments()) and time.monotonic() < deadline:
        time.sleep(1)
    expect(not left, f"Experiments are left: {', '.join(sorted(left))}")


def expect(is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise ScenarioFailed(otherwise)
