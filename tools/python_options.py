"""The options of the Python functions, as types: ``src/kfp_image_tuning/api/options.py``, made from the declarations.

``python -m tools.python_options`` writes it.
"""

import textwrap
from pathlib import Path

from kfp_image_tuning.options.declaration import Option, Options, options_of
from kfp_image_tuning.options.declared import GateOptions, ImageOptions
from kfp_image_tuning.options.pipelines import OWN_OPTIONS, SEARCH
from kfp_image_tuning.options.words import capitalized, default_words, describe

PATH = Path(__file__).parents[1] / "src" / "kfp_image_tuning" / "api" / "options.py"
_TUNE: tuple[type[Options], ...] = (
    *SEARCH,
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
            _typed_dict("PrepareOptions", "TypedDict", "a preparation", ImageOptions),
            _typed_dict("TuneOptions", "PrepareOptions", "a run, those of its preparation included", *_TUNE),
        ]
    )


def _typed_dict(name: str, base: str, purpose: str, *kinds: type[Options]) -> str:
    title = f"Options of {purpose}; one that is left out has its default."
    lines = [f"class {name}({base}, total=False):", f'    """{title}"""', ""]
    own = {option.key: option for option in options_of(*kinds) if option.key and option.key != "data"}
    for key, option in own.items():
        # A seed is that of the search and of the split.
        same = [option, *(inherited for inherited in options_of(ImageOptions) if inherited.key == key)]
        lines += [f"    {key}: {_type(option)}", *_doc(same)]
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
