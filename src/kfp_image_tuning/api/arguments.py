"""What callers give, checked by name and type, in the command line's own form."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any, get_args, get_origin, get_type_hints

from kfp_image_tuning.core.errors import ParameterError
from kfp_image_tuning.core.object_forms import hint_at_nearest

Place = str | PathLike[str]
"""A path, or an address as text."""

_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "True or False"}


def check_options(given: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Options as the command line keeps them; those that are None count as not given.

    Args:
        given: By name.
        kind: The TypedDict that lists what there is.

    Raises:
        ParameterError: With every name that is unknown and every value of another type.
    """
    hints = get_type_hints(kind)
    options: dict[str, Any] = {}
    problems = []
    for name, value in given.items():
        if name not in hints:
            problems.append(f"{name}: is not an option{hint_at_nearest(name, hints)}")
        elif value is not None:
            taken = fspath(value) if hints[name] is str and isinstance(value, PathLike) else value
            problems += _misfits(name, taken, hints[name])
            options[name] = float(taken) if hints[name] is float and isinstance(taken, int) else taken
    if problems:
        raise ParameterError.from_problems(problems)
    return options


def _misfits(name: str, value: Any, hint: Any) -> list[str]:
    if choices := get_args(hint) if get_origin(hint) is not Mapping else ():
        wanted = ", ".join(map(repr, choices))
        return [] if value in choices else [f"{name}: is one of {wanted}, got {value!r}"]
    if get_origin(hint) is not None:
        return [] if isinstance(value, Mapping) else [f"{name}: is a mapping, got {value!r}"]
    if hint is bool:
        fits = isinstance(value, bool)
    else:
        fits = isinstance(value, (int, float) if hint is float else hint) and not isinstance(value, bool)
    return [] if fits else [f"{name}: is {_WORDS[hint]}, got {value!r}"]
