"""What is written as YAML is the same to readers of YAML 1.1 (PyYAML) and of YAML 1.2 (ruamel.yaml)."""

import io
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kfp_image_tuning.cli.option_types import options_object
from kfp_image_tuning.delivery.readable_yaml import dump_documents

SUSPECTS = [
    *("1e-06", "1e5", "1E5", "+1e5", "-1e5", "1.e5", ".5e1", ".5", "5.", "-.5", "0o7", "0O7", "0x1F", "0b1", "010"),
    *("1_000", "0x_1", "-_1", "._5", "_1", "1__0", "12:30:45", "190:20:30.15", "1:2", "0", "-0", "+0", "007", "1.0"),
    *("yes", "No", "ON", "off", "y", "N", "true", "False", "null", "Null", "NULL", "~", "", "=", "<<", "nil", "none"),
    *(".inf", "-.INF", "+.Inf", ".nan", ".NaN", "inf", "nan", "Infinity", "2026-11-25", "2026-11-25T19:01:43Z"),
    *("2026-1-1 1:2:3", "2001-12-14 21:59:43.10 -5", "._", "._e+5", " lead", "trail ", "\ttab", "tab\t", "a: b"),
    *("a #b", "#a", "- a", "? a", "? ", "-", "---", "...", "--- a", "%a", "@a", "`a", "&a", "*a", "!a", "|", ">"),
    *("{a", "[a]", "a,b", "'a", '"', "a\n", "\na", "a\n\n", " a\nb", "a \nb", "a\n b\n", "\n", "\n\n", "a\r\nb"),
    *("\x00", "\x85", "\u2028", "a\u2028b", "\ufeff", "\ufeffa", "\x7f", "\xa0", "ä", "😀", "a\tb", "a\n\tb", "t"),
    *("F", "0.1.0", "1.2.3.4", "3,224,224"),
]  # fmt: skip

TEXT = st.one_of(
    st.sampled_from(SUSPECTS),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.text("0123456789eE+-._:xobTZ ~,infa", max_size=10),
    st.text(" \n\t#:-a'\"", max_size=12),
    st.text("abc :#-\n", min_size=110, max_size=160),
)
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())
VALUES = st.recursive(
    TEXT | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def read_1_1(text: str) -> list[Any]:
    return list(yaml.safe_load_all(text))


def read_1_2(text: str) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all(io.StringIO(text)))


def same(left: Any, right: Any) -> bool:
    """Equal and of the same types: 1 is not True, and not 1.0."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict) and list(left) == list(right) and all(same(left[key], right[key]) for key in left)
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@pytest.mark.parametrize("text", SUSPECTS)
def test_text_is_text_to_every_reader(text: str) -> None:
    document = {"value": text, text: [text]}
    written = dump_documents([document])
    assert read_1_1(written) == read_1_2(written) == [document]


def test_what_every_reader_takes_for_text_has_no_quotes() -> None:
    plain = [
        "sgd",
        "kfp-image-tuning",
        "pvc://images/dataset",
        "--engine",
        "./x",
        "/data",
        "_a",
        "Information",
        "nancy",
    ]
    assert dump_documents([{"plain": plain}]) == "plain:\n" + "".join(f"- {text}\n" for text in plain)


@settings(max_examples=400, deadline=None)
@given(value=VALUES)
@example(value=1e-06)
@example(value=1e22)
@example(value=math.inf)
def test_what_is_read_is_what_was_written(value: Any) -> None:
    written = dump_documents([{"value": value}])
    for read in (read_1_1, read_1_2):
        (document,) = read(written)
        assert same(sort(document["value"]), sort(value)), written


def sort(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sort(value[key]) for key in sorted(value)}
    return [sort(entry) for entry in value] if isinstance(value, list) else value


def test_planned_experiments_have_text_in_every_feasible_space() -> None:
    words = ["plan", "--engine", "katib", "--data", "pvc://images/dataset", "--gpus", "1"]
    command = [sys.executable, "-m", "kfp_image_tuning.cli.command_line", *words]
    planned = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spaces = [
        parameter["feasibleSpace"] for document in read_1_2(planned) for parameter in document["spec"]["parameters"]
    ]
    assert len(spaces) > 10
    assert {"1e-06", "1e-08"} <= {space["min"] for space in spaces}
    for space in spaces:
        for value in space.values():
            assert all(isinstance(entry, str) for entry in (value if isinstance(value, list) else [value])), space
    assert read_1_1(planned) == read_1_2(planned)


@pytest.mark.parametrize("name", ["local", "katib", "sagemaker"])
def test_compiled_pipelines_are_the_same_to_every_reader(name: str) -> None:
    path = Path(__file__).parents[2] / "pipelines" / "compiled" / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    assert read_1_1(text) == read_1_2(text)


def test_numbers_in_option_files_may_be_written_as_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("a: 1e-6\nb: [1E5, .5e1, -2.e3]\nc: 1e\n", encoding="utf-8")
    assert options_object(str(file)) == {"a": 1e-6, "b": [1e5, 5.0, -2e3], "c": "1e"}
