"""The local engine keeps to the contract of engines, on real images."""

from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.engines.local.engine import LocalEngine
from kfp_image_tuning.search.search import Search
from tests.engines.contract import EngineBench, EngineContract
from tests.engines.local.searching import make_search


class LocalBench(EngineBench):
    def __init__(self, dataset: Path, work: Path) -> None:
        self.dataset, self.work = dataset, work

    def engine(self, folder: Path) -> LocalEngine:
        return LocalEngine(self.dataset, self.work, folder / "model")

    def search(self, *, seed: int = 1) -> Search:
        return make_search(self.dataset, max_trials=3, seed=seed)

    def stands(self) -> Any:
        return {path: path.read_bytes() for path in self.work.rglob("*") if path.is_file()}


class TestContract(EngineContract):
    @pytest.fixture
    def bench(self, digits_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> EngineBench:
        return LocalBench(digits_dataset, tmp_path_factory.mktemp("work"))
