"""The SageMaker pipeline on a cluster, against moto's S3 and the emulator of SageMaker on this machine."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.e2e.bench import Bench
from tests.e2e.composition import write_connection
from tests.e2e.outcomes import ScenarioFailed, Skipped
from tests.emulators.real_training import TrainedPredictor, TrainingRunner
from tests.pipelines.sagemaker_account import BUCKET, ROLE, account, storage_server


def tune_on_sagemaker(bench: Bench, parameters: Mapping[str, Any]) -> tuple[str, str]:
    """Run ``sagemaker.yaml``; returns the run, and what is to be noted.

    Raises:
        Skipped: If pods do not reach this machine.
    """
    address = bench.settings.callback
    if not address:
        raise Skipped("set E2E_CALLBACK to this machine's address as pods reach it")
    here = listening_address(address)
    with storage_server(here) as (url, storage):
        runner = TrainingRunner(storage, bench.folder / "containers")
        with account(url, storage, runner, TrainedPredictor(storage), address=here) as used:
            variables = {name: value.replace(f"//{here}:", f"//{address}:") for name, value in used.variables.items()}
            see_that_pods_reach(bench, *(value for value in variables.values() if "://" in value))
            values = bench.folder / "sagemaker-values.yaml"
            document = with_variables(bench.settings.compile_options, variables)
            values.write_text(yaml.safe_dump(document), encoding="utf-8")
            run = bench.kubeflow.start(
                bench.compile("sagemaker", "--values", str(values)),
                {
                    **parameters,
                    "tune_role": ROLE,
                    "tune_bucket": BUCKET,
                    "tune_region": "us-east-1",
                    "tune_sagemaker_options": {"poll_seconds": 1.0, "max_trial_seconds": 3600.0},
                },
            )
            bench.kubeflow.succeed(run)
            jobs = [job.status for tuning in used.emulator.service.tuning_jobs.values() for job in tuning.jobs]
            transforms = len(used.emulator.service.transform_jobs)
    if jobs != ["Completed"] * 2 or transforms != 1:
        raise ScenarioFailed(f"SageMaker's training jobs are {jobs}, its transform jobs {transforms}, not 2 and 1")
    return run, "2 training jobs, 1 transform job"


def listening_address(address: str) -> str:
    """Where to listen for those who call an address: there, or everywhere if it is only led to this machine."""
    with socket.socket() as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return "0.0.0.0"
    return address


def see_that_pods_reach(bench: Bench, *urls: str) -> None:
    """Start a pod that connects to addresses of this machine.

    Raises:
        Skipped: If it does not reach them.
    """
    places = sorted({urlsplit(url).netloc for url in urls})
    package = bench.folder / "connection.yaml"
    write_connection(package, bench.step_image, *places)
    if bench.kubeflow.wait(bench.kubeflow.start(package, {})) != "SUCCEEDED":
        raise Skipped(f"pods do not reach {' and '.join(places)}; see E2E_CALLBACK and this machine's firewall")


def with_variables(options: Sequence[str], variables: Mapping[str, str]) -> dict[str, Any]:
    """The user's values file, if there is one, with variables for the steps that speak to AWS."""
    given = Path(options[options.index("--values") + 1]).read_text(encoding="utf-8") if "--values" in options else "{}"
    document: dict[str, Any] = yaml.safe_load(given) or {}
    for step in ("search", "evaluate"):
        document.setdefault("steps", {}).setdefault(step, {}).setdefault("env", {}).update(variables)
    return document
