"""How large a run grows: the estimate at compile time against the account that the stand-in for KFP's backend keeps."""

from pathlib import Path
from typing import Any

import pytest
from kfp import dsl

from kfp_image_tuning.delivery.compilation import compile_pipeline
from kfp_image_tuning.delivery.specification import CompilationError
from kfp_image_tuning.delivery.workflow_size import estimate_workflow_size
from tests.emulators.kfp_backend import Backend, Run
from tests.pipelines.component_environment import declared_environment


@dsl.component(install_kfp_package=False)
def echo(text: str) -> str:
    return text


def loop_over(items: list[str], text: str) -> Any:
    @dsl.pipeline(name="loop")
    def loop() -> None:
        with dsl.ParallelFor(items, parallelism=2) as _:
            echo(text=text).set_caching_options(False)

    return loop


def ended(pipeline: Any, folder: Path) -> Run:
    with Backend(folder / "backend", declared_environment()) as backend:
        return backend.run(compile_pipeline(pipeline))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_estimate_is_near_to_what_the_backend_comes_to(tmp_path: Path) -> None:
    import yaml

    pipeline = loop_over(["a", "b", "c"], "x" * 2000)
    run = ended(pipeline, tmp_path)
    assert run.state == "SUCCEEDED", run.explain()
    size = estimate_workflow_size(list(yaml.safe_load_all(compile_pipeline(pipeline))))
    assert size.bytes == pytest.approx(run.workflow.bytes, rel=0.1)


def test_run_that_would_die_in_the_middle_is_refused_before_it_is_uploaded() -> None:
    with pytest.raises(CompilationError, match=r"a run would take about [\d,]+ KiB .* Argo keeps 1,024"):
        compile_pipeline(loop_over([str(number) for number in range(800)], ""))
