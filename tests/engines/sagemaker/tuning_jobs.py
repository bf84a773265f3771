"""A small search on SageMaker for the tests of this engine, and an emulator to run it on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from kfp_image_tuning.engines.run import run_search
from kfp_image_tuning.engines.sagemaker.engine import SageMakerEngine
from kfp_image_tuning.engines.sagemaker.request.options import SageMakerOptions
from kfp_image_tuning.search.budget import Budget
from kfp_image_tuning.search.result import TuningResult
from kfp_image_tuning.search.search import Search
from tests.emulators.sagemaker import SageMakerEmulator
from tests.search.searches import make_search

OPTIONS = SageMakerOptions(
    role="arn:aws:iam::123456789012:role/tuning",
    data="s3://images/digits",
    output_uri="s3://images/models",
    region="us-east-1",
    poll_seconds=0.02,
)
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "first", "AWS_SECRET_ACCESS_KEY": "secret"}


def small_search(trials: int = 6, **wishes: Any) -> Search:
    """A search of some trials, two at a time, three epochs each."""
    budget = wishes.pop("budget", None) or Budget(max_trials=trials, parallel_trials=2)
    return make_search(wishes.pop("changes", None), budget=budget, epochs=wishes.pop("epochs", 3), **wishes)


@contextmanager
def credentials(**more: str) -> Iterator[None]:
    """Credentials in the environment, and nothing else of AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with mock.patch.dict(os.environ, kept | CREDENTIALS | {"AWS_EC2_METADATA_DISABLED": "true"} | more, clear=True):
        yield


def run_on(
    emulator: SageMakerEmulator, search: Search, path: Path, lines: list[str] | None = None, **options: Any
) -> TuningResult:
    """Run a search on an emulator, as the component does."""
    engine = SageMakerEngine(replace(OPTIONS, endpoint_url=emulator.url, **options))
    with credentials():
        return run_search(
            engine, engine.plan(search), path / "result.json", show=(lambda _: None) if lines is None else lines.append
        )
