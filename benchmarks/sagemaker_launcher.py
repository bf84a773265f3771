"""What the SageMaker launcher weighs: memory at its most, and the time from its start to its first call of SageMaker.

The launcher is a process as in a pod: it loads the data set, plans and checks the request, compares the data with what
is in S3, creates the tuning job, follows twenty trials, fetches the model and writes the result. SageMaker and S3 are
stand-ins on this machine. Beside it, in the same run: a script that makes one call with plain boto3, and one with
the SageMaker SDK, where `make test-sagemaker-sdk` has made its environment. Run it on an idle machine with
``python benchmarks/sagemaker_launcher.py``; Linux only.
"""

import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import boto3
from moto.server import ThreadedMotoServer

from kfp_image_tuning.cli.demo_images import write_demo_images
from kfp_image_tuning.preparation.preparation import prepare_dataset
from tests.emulators.sagemaker import SageMakerEmulator

RUNS = 7
MOST_MEGABYTES, MOST_SECONDS = 120, 2.0
"""What the launcher may take on an idle core."""
BUCKET = "benchmark"
SDK_PYTHON = Path(__file__).parents[1] / ".venv-sagemaker-sdk/bin/python"
PLACE = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}

LAUNCHER = """
import sys
from kfp_image_tuning.engines.sagemaker.request.job_options import Account
from kfp_image_tuning.steps.sagemaker_tuning import launch
from kfp_image_tuning.steps.tuning_settings import TuningSettings
dataset, folder, run = sys.argv[1:]
launch(
    TuningSettings(max_trials=20),
    Account(role="arn:aws:iam::123456789012:role/tuning", bucket="benchmark", region="us-east-1", run=run,
            run_id="", sagemaker_options={"poll_seconds": 0.05}),
    dataset=dataset, model=folder + "/model", result=folder + "/result.json",
)
"""
PLAIN = """
import boto3
boto3.client("sagemaker").list_tags(ResourceArn="arn:aws:sagemaker:us-east-1:123456789012:model/none")
"""
SDK = """
from sagemaker.core.resources import HyperParameterTuningJob
try:
    HyperParameterTuningJob.get("none", region="us-east-1")
except Exception:
    pass
"""


MEMORY = """
print("at most", next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")), "kB")
"""
"""Ends each script; what the system tells a parent of its child's memory counts the parent's own before the start."""


class FirstCall(list[tuple[str, str]]):
    """The emulator's list of calls, which remembers when the first one of a process arrived, and its CPU time then."""

    def __init__(self) -> None:
        super().__init__()
        self.expect(0)

    def expect(self, process: int) -> None:
        """Wait for the first call of a process; 0: of none."""
        self.process, self.moment, self.cpu = process, 0.0, 0.0

    def append(self, call: tuple[str, str]) -> None:
        """Note a call."""
        if self.process and not self.moment:
            self.moment, self.cpu = time.perf_counter(), cpu_seconds(self.process)
        super().append(call)


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(command: Sequence[str], calls: FirstCall, environment: dict[str, str]) -> tuple[float, float, float]:
    """Megabytes at most, and seconds of wall time and of CPU to the first call, of one process."""
    calls.expect(0)
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    calls.expect(process.pid)
    output, _ = process.communicate()
    memory = re.search(r"^at most (\d+) kB$", output, re.MULTILINE)
    if process.returncode or not calls.moment or memory is None:
        raise SystemExit(f"{command[0]} ended with {process.returncode}: {output}")
    return int(memory[1]) / 1024, calls.moment - began, calls.cpu


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    storage_url = "http://{}:{}".format(*moto.get_host_and_port())
    boto3.client(
        "s3", endpoint_url=storage_url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    ).create_bucket(Bucket=BUCKET)
    calls = FirstCall()
    with (
        tempfile.TemporaryDirectory(prefix="sagemaker-launcher-") as temporary,
        SageMakerEmulator(storage_url=storage_url, seconds_per_poll=600.0) as emulator,
    ):
        emulator.calls = calls
        folder = Path(temporary)
        write_demo_images(folder / "source")
        prepare_dataset(str(folder / "source"), folder / "dataset", progress=lambda _: None)
        services = {"SAGEMAKER": emulator.url, "CLOUDWATCH_LOGS": emulator.url, "S3": storage_url, "STS": storage_url}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment = kept | PLACE | KEYS | {f"AWS_ENDPOINT_URL_{name}": url for name, url in services.items()}
        commands = {
            "launcher": [sys.executable, "-c", LAUNCHER + MEMORY, str(folder / "dataset"), str(folder)],
            "plain boto3": [sys.executable, "-c", PLAIN + MEMORY],
        }
        if SDK_PYTHON.exists():
            commands["SageMaker SDK"] = [str(SDK_PYTHON), "-c", SDK + MEMORY]
        # Each once before it counts: bytecode is written, and the data set brought to S3.
        found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
        for run in range(-1, RUNS):
            for name, command in commands.items():
                more = [f"run-{run}"] if name == "launcher" else []
                numbers = measure([*command, *more], calls, environment)
                if run >= 0:
                    found[name].append(numbers)
    moto.stop()
    print(f"medians of {RUNS} runs            memory   first call   of it CPU")
    for name, runs in found.items():
        megabytes, seconds, cpu = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"  {name:22}{megabytes:9.0f} MB{seconds:9.2f} s{cpu:9.2f} s")
    memory, seconds, _ = (max(column) for column in zip(*found["launcher"], strict=True))
    print(f"the launcher at its worst: {memory:.0f} MB of {MOST_MEGABYTES}, {seconds:.2f} s of {MOST_SECONDS:.0f}")


if __name__ == "__main__":
    main()
