"""What a user wrote as a JSON object against the dataclass that it is to become: unknown names, values of another form.

Everything that is wrong is told at once, in words, before a value of the wrong form can do harm elsewhere.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Form = TypeVar("Form")

_FORMS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null"}


def find_misfits(kind: type, document: Mapping[str, Any], title: str, place: str = "") -> list[str]:
    """Find every name that is unknown, and every value of another form than its field's.

    Args:
        kind: The dataclass.
        document: The object.
        title: What the object is, for the messages: ``Katib options``.
        place: Where in it ``document`` stands, with a dot at its end; empty: it is the whole.

    Returns:
        A sentence for each; fields that are missing are a misfit in the objects within it only.
    """
    hints = get_type_hints(kind)
    problems = [
        f"{title}: {place}{name} is unknown{hint_at_nearest(name, hints)}"
        for name in sorted(set(document) - set(hints))
    ]
    for name, hint in hints.items():
        if name not in document:
            continue
        value = document[name]
        if not _fits(value, hint):
            problems.append(f"{title}: {place}{name} must be {_describe(hint)}, got {value!r}")
        for element, inner, where in _objects_in(value, hint, f"{place}{name}"):
            problems += find_misfits(inner, element, title, f"{where}.")
            problems += [f"{title}: {where}.{field} is missing" for field in _missing_fields(inner, element)]
    return problems


def build_object(kind: type[Form], document: Mapping[str, Any]) -> Form:
    """The dataclass that an object stands for, with those in it; `find_misfits` has found nothing.

    Args:
        kind: The dataclass.
        document: The object; what is missing has the field's default.
    """
    hints = get_type_hints(kind)
    return kind(**{name: _build(value, hints[name]) for name, value in document.items()})


def _build(value: Any, hint: Any) -> Any:
    inner = dataclass_in(hint)
    if isinstance(value, list | tuple):
        return tuple(build_object(inner, element) if inner else element for element in value)
    return build_object(inner, value) if inner and isinstance(value, Mapping) else value


def dataclass_in(hint: Any) -> type | None:
    """The dataclass that a field holds, alone, as one of several forms, or in a list; None: it holds none."""
    found = (hint, *get_args(hint))
    return next((kind for kind in found if is_dataclass(kind) and isinstance(kind, type)), None)


def _objects_in(value: Any, hint: Any, place: str) -> Iterator[tuple[Mapping[str, Any], type, str]]:
    """What a field holds that is to become a dataclass: the object, its dataclass and its place."""
    inner = dataclass_in(hint)
    if inner and isinstance(value, Mapping):
        yield value, inner, place
    elif inner and isinstance(value, list | tuple):
        for position, element in enumerate(value):
            if isinstance(element, Mapping):
                yield element, inner, f"{place}[{position}]"


def _missing_fields(kind: Any, document: Mapping[str, Any]) -> list[str]:
    needed = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    return [name for name in needed if name not in document]


def hint_at_nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: a hint at the one that was probably meant, or nothing."""
    # Imported here: only a misspelt name needs it, and it takes as long as all else that is imported.
    from difflib import get_close_matches

    matches = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {matches[0]}?" if matches else ""


def _fits(value: object, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in arguments
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in arguments)
    if origin in (tuple, Sequence):
        return isinstance(value, list | tuple) and all(_fits(element, arguments[0]) for element in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(_fits(element, arguments[1]) for element in value.values())
    if is_dataclass(hint):
        return isinstance(value, Mapping)
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    return isinstance(value, int | float if hint is float else hint)


def _describe(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin in (Union, UnionType):
        return " or ".join(_describe(one) for one in arguments)
    if origin in (tuple, Sequence):
        return f"a list, of {_describe(arguments[0])} each"
    if origin is Mapping:
        return "an object" if arguments[1] is Any else f"an object, of {_describe(arguments[1])} each"
    return "an object" if is_dataclass(hint) else _FORMS[hint]


def restore_whole_numbers(value: Any) -> Any:
    """A JSON value with whole numbers as such, which KFP has made floats of."""
    if isinstance(value, Mapping):
        return {name: restore_whole_numbers(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [restore_whole_numbers(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
