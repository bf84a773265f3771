"""What users write about the cluster."""

import json
import re
from pathlib import Path

import pytest

from kfp_image_tuning.core.errors import EngineError
from kfp_image_tuning.core.object_forms import find_misfits
from kfp_image_tuning.engines.katib.request.options import KatibOptions


def test_options_in_the_documentation_are_known() -> None:
    text = (Path(__file__).parents[3] / "docs" / "katib.md").read_text(encoding="utf-8")
    examples = [json.loads(found.replace("…", "x")) for found in re.findall(r"[`'](\{\".*?\})[`']", text)]
    assert len(examples) > 12
    for example in examples:
        assert find_misfits(KatibOptions, example, "options") == [], example
        assert KatibOptions.from_dict({"data": "pvc://a", "output_uri": "pvc://b", **example})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(EngineError) as raised:
        KatibOptions.from_dict(
            {"data": "pvc://a", "pods": {"memroy": "1Gi", "gpus": "two"}, "pending_timeout_seconds": "1h"}
        )
    assert list(raised.value.problems) == [
        "Katib options: pending_timeout_seconds must be a number, got '1h'",
        "Katib options: pods.memroy is unknown; did you mean memory?",
        "Katib options: pods.gpus must be a whole number, got 'two'",
        "Katib options: output_uri is required and missing",
    ]
