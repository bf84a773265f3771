"""What is made from the code is as the code is, and describes everything."""

import json
from typing import Any

import jsonschema
import pytest

from tools.reference import REFERENCES, Reference, descriptions

NAMES = [reference.page.stem for reference in REFERENCES]


@pytest.mark.parametrize("reference", REFERENCES, ids=NAMES)
def test_tables_and_schema_are_made_from_the_classes(reference: Reference) -> None:
    assert reference.schema.read_text(encoding="utf-8") == reference.schema_text(), "run `make generate`"
    assert reference.page.read_text(encoding="utf-8") == reference.page_text(), "run `make generate`"


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
        ("sagemaker", {"instance_configs": [{"instance_type": "ml.g5.xlarge"}], "spot": True}, True),
        ("sagemaker", {"spot": "yes"}, False),
    ],
)
def test_schema_takes_what_the_engine_takes(name: str, document: dict[str, Any], is_valid: bool) -> None:
    (reference,) = [reference for reference in REFERENCES if reference.page.stem == name]
    assert jsonschema.Draft202012Validator(json.loads(reference.schema_text())).is_valid(document) is is_valid
