"""Amounts in parameters that KFP's driver would not read are refused before the upload."""

from typing import Any

import pytest
from kfp import dsl

from kfp_image_tuning.delivery.compilation import compile_pipeline
from kfp_image_tuning.delivery.resource_checks import find_broken_amounts
from kfp_image_tuning.delivery.specification import CompilationError
from kfp_image_tuning.delivery.values_file import values_from
from kfp_image_tuning.pipelines.image_tuning import PIPELINES
from tests.pipelines.compiled_documents import compile_plainly


@dsl.component(base_image="python:3.11-slim")
def work(count: int = 1) -> int:
    return count


def problems_of(pipeline: Any) -> list[str]:
    return list(find_broken_amounts(compile_plainly(pipeline)[0]))


def test_what_kfp_would_not_read_is_no_amount() -> None:
    @dsl.pipeline
    def numbers(gpus: int, processors: float = 2.0, text: str = "1") -> None:
        work(count=2).set_cpu_request(processors)
        counted = work()
        work().set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(counted.output).set_cpu_limit(text)
        with dsl.If(gpus == 2):
            work(count=3).set_cpu_request(text)

    assert problems_of(numbers) == [
        "work: processors must be a text (str) to be resourceCpuRequest: KFP reads a number there as empty, and the "
        "step would fail",
        "work-3: Output must be a text (str) to be resourceCount: KFP reads a number there as empty, and the "
        "accelerator would be missing without a word",
        "work-4: text does not reach a step in dsl.If or dsl.ParallelFor as resourceCpuRequest, because KFP's compiler "
        "does not hand it in; write the amount itself there, or make the group a pipeline with this parameter",
    ]


def test_an_empty_default_is_no_limit_only_for_accelerators() -> None:
    @dsl.pipeline
    def empty(memory: str = "", accelerator: str = "", count: str = "") -> None:
        work().set_memory_limit(memory).set_accelerator_type(accelerator).set_accelerator_limit(count)

    assert problems_of(empty) == [
        'work: memory is empty where nothing is given, and the step would fail; its default must be an amount, "0" for '
        "no limit"
    ]


def test_a_values_file_cannot_empty_an_amount() -> None:
    values = values_from({"parameters": {"tune_cpu": ""}}, "team.yaml")
    with pytest.raises(CompilationError, match="local-tuning: tune_cpu is empty where nothing is given"):
        compile_pipeline(PIPELINES["local"], values=values)
