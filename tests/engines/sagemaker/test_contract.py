"""The SageMaker engine keeps to the contract of engines, on the emulator."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.engines.sagemaker.engine import SageMakerEngine
from kfp_image_tuning.search.search import Search
from tests.emulators.sagemaker import SageMakerEmulator
from tests.engines.contract import EngineBench, EngineContract
from tests.engines.sagemaker.tuning_jobs import OPTIONS, credentials, small_search


class SageMakerBench(EngineBench):
    def __init__(self, emulator: SageMakerEmulator) -> None:
        self.emulator = emulator

    def engine(self, folder: Path) -> SageMakerEngine:
        return SageMakerEngine(replace(OPTIONS, endpoint_url=self.emulator.url, run="run-1"))

    def search(self, *, seed: int = 1) -> Search:
        return small_search(trials=3, seed=seed)

    def stands(self) -> Any:
        service = self.emulator.service
        jobs = {name: [job.name for job in tuning.jobs] for name, tuning in service.tuning_jobs.items()}
        changes = [call for call, _ in self.emulator.calls if call.startswith(("Create", "Stop", "Delete"))]
        # The one call that asks for the name is refused by the service.
        return jobs, sorted(set(changes)), {name: dict(tags) for name, tags in service.tags.items()}


class TestContract(EngineContract):
    @pytest.fixture
    def bench(self) -> Iterator[EngineBench]:
        with SageMakerEmulator(seconds_per_poll=30.0) as emulator, credentials():
            yield SageMakerBench(emulator)
