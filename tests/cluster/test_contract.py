"""The Katib engine keeps to the contract of engines, on a control plane with Katib's stand-in."""

from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.engines.katib.engine import KatibEngine
from kfp_image_tuning.search.search import Search
from tests.cluster.bench import Bench, flat, sleeping
from tests.engines.contract import EngineBench, EngineContract


class KatibBench(EngineBench):
    def __init__(self, bench: Bench) -> None:
        self.inner = bench

    def engine(self, folder: Path) -> KatibEngine:
        return self.inner.engine(self.inner.options(pods=sleeping(0.5), keep_experiments=True))

    def search(self, *, seed: int = 1) -> Search:
        return flat(seed=seed)

    def stands(self) -> Any:
        files = [path for path in self.inner.place.models.rglob("*") if path.is_file()]
        return self.inner.objects("experiments"), {path: path.read_bytes() for path in files}


class TestContract(EngineContract):
    @pytest.fixture(name="bench")
    def engine_bench(self, bench: Bench) -> EngineBench:
        return KatibBench(bench)
