"""What the steps of all pipelines have in common: what must run anew, and what may come from the cache."""

import pytest
from google.protobuf.json_format import MessageToDict

from kfp_image_tuning.pipelines.image_tuning import PIPELINES

pytestmark = pytest.mark.slow

UNCHECKED = {"data_secret"}
"""Parameters that preflight has no input for: Kubernetes looks for the secret."""
CACHED = {"data-preparation"}
"""Tasks whose results may be another run's: what they depend on is among their inputs."""
RUN = {"runtimeValue": {"constant": "{{$.pipeline_job_uuid}}"}}


@pytest.mark.parametrize("engine", PIPELINES)
def test_what_must_run_anew_has_the_run_among_its_inputs(engine: str) -> None:
    tasks = MessageToDict(PIPELINES[engine].pipeline_spec)["root"]["dag"]["tasks"]
    anew = {name: task for name, task in tasks.items() if name not in CACHED}
    assert len(anew) >= 2
    for name, task in anew.items():
        assert task["inputs"]["parameters"]["run_id"] == RUN, name
        assert not task.get("cachingOptions", {}).get("enableCache"), name


@pytest.mark.parametrize("engine", PIPELINES)
def test_every_parameter_is_checked_first(engine: str) -> None:
    root = MessageToDict(PIPELINES[engine].pipeline_spec)["root"]
    given = root["dag"]["tasks"]["preflight"]["inputs"]["parameters"]
    parameters = set(root["inputDefinitions"]["parameters"])
    assert parameters - UNCHECKED == {
        name for name, source in given.items() if source == {"componentInputParameter": name}
    }
