"""The example Experiments are what their commands make, and Katib takes them."""

import pytest
import yaml

from kfp_image_tuning.engines.katib.request.validation import find_problems
from tools.katib_examples import EXAMPLES, FOLDER, example_text


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_is_what_its_command_makes(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text == example_text(EXAMPLES[name]), "run `make generate`"
    assert [find_problems(document) for document in yaml.safe_load_all(text)] == [[]] * text.count("kind: Experiment")
