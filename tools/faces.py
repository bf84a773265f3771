"""Signatures and docstrings of the components' faces and of the pipelines, made from the declared options.

KFP reads a function's source, so options stand in each of these files as if they were written by hand: in its signature
between two marks, and among the arguments of its docstring. ``python -m tools.faces`` writes them all.
"""

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kfp_image_tuning.cli.engine_help import OBJECTS
from kfp_image_tuning.options.declaration import Option, options_of
from kfp_image_tuning.options.pipelines import COMPONENTS, ENGINES, checked_options, parameters_of
from kfp_image_tuning.options.words import sentence
from tools.check_catalogue import find_folders

ROOT = Path(__file__).parents[1]
START = "    # Options, made by `make generate`."
END = "    # The end of what is made."
_OBJECT = " = {},  # type: ignore[type-arg]  # noqa: B006  # KFP reads the default as JSON"
_WIDTH = 120


@dataclass(frozen=True)
class Input:
    """An option in a signature.

    Attributes:
        name: What it is called there.
        option: Its declaration.
        is_required: Whether it has no default there.
    """

    name: str
    option: Option
    is_required: bool

    def declaration(self) -> str:
        """Its line in the signature."""
        text = f"    {self.name}: {self.option.kind.__name__}"
        if self.option.kind is dict:
            return text + _OBJECT
        if self.is_required:
            return f"{text},"
        default = self.option.unset if self.option.is_required else self.option.parameter_default
        return f"{text} = {_literal(default)},"

    def entry(self) -> list[str]:
        """Its lines in the docstring."""
        return textwrap.wrap(
            f"{self.name}: {sentence(self.option)}{_list_fields(self.option)}",
            _WIDTH,
            initial_indent=" " * 8,
            subsequent_indent=" " * 12,
            break_long_words=False,
            break_on_hyphens=False,
        )


@dataclass(frozen=True)
class Face:
    """A file with a function whose options are made.

    Attributes:
        path: The file.
        inputs: The options, in their order.
    """

    path: Path
    inputs: Sequence[Input]

    def text(self) -> str:
        """The file with its options made again; what else is in it stays."""
        before, _, rest = self.path.read_text(encoding="utf-8").partition(f"{START}\n")
        old, _, after = rest.partition(f"{END}\n")
        # Python wants those without a default first.
        ordered = sorted(self.inputs, key=lambda one: not one.is_required)
        region = "".join(f"{one.declaration()}\n" for one in ordered)
        made = {one.name: one.entry() for one in ordered}
        head, body = _split_signature(after)
        names = [*_names(before.rpartition("\ndef ")[2]), *made, *_names(head)]
        return f"{before}{START}\n{region}{END}\n{head}{_describe(body, names, made, set(_names(old)))}"


def component_faces() -> list[Face]:
    """The components that have options."""
    folders = {folder.name: folder / "component.py" for folder in find_folders()}
    faces = [
        Face(folders[name], [Input(option.name, option, option.is_required) for option in options_of(*kinds)])
        for name, kinds in COMPONENTS.items()
    ]
    # What not every pipeline has cannot be required of all.
    everywhere = set.intersection(*({option.parameter for option in parameters_of(engine)} for engine in ENGINES))
    checked = [
        Input(option.parameter, option, option.is_required and option.parameter in everywhere)
        for option in checked_options()
    ]
    return [*faces, Face(folders["preflight"], checked)]


def pipeline_faces() -> list[Face]:
    """The pipelines."""
    return [
        Face(
            ROOT / "pipelines" / f"image_tuning_{engine}.py",
            [Input(option.parameter, option, option.is_required) for option in parameters_of(engine)],
        )
        for engine in ENGINES
    ]


def _list_fields(option: Option) -> str:
    """The names of the fields of an object that an engine takes; the run form has no other place for them."""
    described = OBJECTS.get(option.name.removesuffix("_options"))
    if described is None:
        return ""
    names = [field.name for field in described.list_fields()]
    return f" Fields, which docs/reference.md describes: {', '.join(names)}."


def _literal(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _names(signature: str) -> list[str]:
    return re.findall(r"^    (\w+): ", signature, re.MULTILINE)


def _split_signature(text: str) -> tuple[str, str]:
    """The rest of a signature, and what follows it."""
    end = text.index("\n)") if not text.startswith(")") else 0
    return text[:end], text[end:]


def _describe(body: str, names: Sequence[str], made: dict[str, list[str]], old: set[str]) -> str:
    """A function's body with the arguments of its docstring made again."""
    start = body.index("    Args:\n") + len("    Args:\n")
    end = body.index("\n\n", start)
    own = {
        found[1]: found[0].rstrip("\n").split("\n")
        for found in re.finditer(r"^ {8}(\w+): .*\n(?: {12}.*\n)*", f"{body[start:end]}\n", re.MULTILINE)
        if found[1] not in old
    }
    entries = {**own, **made}
    lines = [line for name in names if name in entries for line in entries[name]]
    return body[:start] + "\n".join(lines) + body[end:]


FACES = [*component_faces(), *pipeline_faces()]

if __name__ == "__main__":
    for face in FACES:
        face.path.write_text(face.text(), encoding="utf-8")
