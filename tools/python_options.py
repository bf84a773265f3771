"""The options of the Python functions, as types: ``src/kfp_image_tuning/api/options.py``, made from the declarations.

``python -m tools.python_options`` writes it.
"""

import textwrap
from collections.abc import Iterable
from pathlib import Path

from kfp_image_tuning.options.declaration import Option, Options, options_of
from kfp_image_tuning.options.declared import GateOptions, ImageOptions
from kfp_image_tuning.options.pipelines import OWN_OPTIONS, SEARCH
from kfp_image_tuning.options.words import capitalized, default_words, describe

PATH = Path(__file__).parents[1] / "src" / "kfp_image_tuning" / "api" / "options.py"
_TUNE: tuple[type[Options], ...] = (
    *SEARCH,
    ImageOptions,
    GateOptions,
    *(kind for kinds in OWN_OPTIONS.values() for kind in kinds),
)
_TYPES = {str: "str", int: "int", float: "float", bool: "bool", dict: "Mapping[str, Any]"}
_HEAD = '''\
"""What `tune` and `prepare` take besides where images are and results go. Made by `make generate`."""

from collections.abc import Mapping
from typing import Any, Literal, TypedDict
'''


def python_options() -> str:
    """The file."""
    return "\n\n".join(
        [
            _HEAD,
            _typed_dict("TuneOptions", "Options of a run; one that is left out has its default.", options_of(*_TUNE)),
            _typed_dict(
                "PrepareOptions",
                "Options of a preparation; one that is left out has its default.",
                options_of(ImageOptions),
            ),
        ]
    )


def _typed_dict(name: str, title: str, options: Iterable[Option]) -> str:
    by_key: dict[str, list[Option]] = {}
    for option in options:
        if option.key and option.key != "data":
            by_key.setdefault(option.key, []).append(option)
    lines = [f"class {name}(TypedDict, total=False):", f'    """{title}"""', ""]
    for key, same in by_key.items():
        lines += [f"    {key}: {_type(same[0])}", *_doc(same)]
    return "\n".join(lines) + "\n"


def _type(option: Option) -> str:
    if option.choices:
        return f"Literal[{', '.join(f'{choice!r}' for choice in option.choices)}]".replace("'", '"')
    return _TYPES[option.kind]


def _doc(options: list[Option]) -> list[str]:
    text = capitalized("; ".join(dict.fromkeys(describe(option) for option in options)))
    if default := default_words(options[0]):
        text += f" (default: {default})"
    raw = "r" if "\\" in text else ""
    return textwrap.wrap(f'{raw}"""{text}."""', 120, initial_indent="    ", subsequent_indent="    ")


if __name__ == "__main__":
    PATH.write_text(python_options(), encoding="utf-8")
