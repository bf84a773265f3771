"""What is made from the code is as the code is, and describes everything."""

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from kfp_image_tuning.options.object_fields import descriptions
from tools.option_reference import page_text
from tools.reference import DOCS, REFERENCES, Reference, values_page

NAMES = [reference.schema.name.partition(".")[0] for reference in REFERENCES]


@pytest.mark.parametrize("reference", REFERENCES, ids=NAMES)
def test_schema_is_made_from_the_class(reference: Reference) -> None:
    assert reference.schema.read_text(encoding="utf-8") == reference.schema_text(), "run `make generate`"


@pytest.mark.parametrize(("name", "make"), [("values.md", values_page), ("reference.md", page_text)])
def test_pages_are_made_from_the_classes(name: str, make: Callable[[], str]) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == make(), "run `make generate`"


@pytest.mark.parametrize("reference", REFERENCES, ids=NAMES)
def test_every_option_has_a_description(reference: Reference) -> None:
    for kind in reference.classes():
        names = {entry.name for entry, _ in reference._fields(kind)}
        assert names <= set(descriptions(kind)), kind.__name__


@pytest.mark.parametrize(
    ("name", "document", "is_valid"),
    [
        ("katib", {"algorithm": "tpe", "pods": {"memory": "16Gi"}}, True),
        ("katib", {"pods": {"memroy": "16Gi"}}, False),
        ("katib", {"pods": {"gpus": 2}}, False),
        ("sagemaker", {"instance_configs": [{"instance_type": "ml.g5.xlarge"}], "spot": True}, True),
        ("sagemaker", {"spot": "yes"}, False),
    ],
)
def test_schema_takes_what_the_engine_takes(name: str, document: dict[str, Any], is_valid: bool) -> None:
    (reference,) = [reference for reference in REFERENCES if reference.schema.name.startswith(name)]
    assert jsonschema.Draft202012Validator(json.loads(reference.schema_text())).is_valid(document) is is_valid
