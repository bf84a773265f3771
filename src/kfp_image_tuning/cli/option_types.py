"""What options accept as text: durations, fractions, a search space in a file or in the command itself."""

import argparse
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import ParameterError
from kfp_image_tuning.options.declaration import Option

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def refuse_missing(places: Mapping[str, Path | str | None]) -> None:
    """Refuse paths at which there is nothing, all at once.

    Args:
        places: Paths, or addresses, by the flag that gave them; None: it was not given.

    Raises:
        ParameterError: With each of them.
    """
    missing = [
        f"{flag}: {place}: there is no such file or folder; check the path"
        for flag, place in places.items()
        if place is not None and "://" not in str(place) and not Path(place).expanduser().exists()
    ]
    if missing:
        raise ParameterError.from_problems(missing)


def parser_of(option: Option) -> Callable[[str], Any]:
    """What makes a value of an option out of text, and refuses text that the declaration does not allow."""
    if option.unit == "seconds":
        return duration_or_never if option.least == 0 else duration
    if option.unit == "fraction":
        return fraction
    if option.kind is int:
        return partial(_allowed_number, option)
    if option.kind is dict:
        return options_object
    return partial(_allowed, option) if option.pattern else str


def _allowed(option: Option, value: Any) -> Any:
    # What stands for "not set" among parameters is nothing to type.
    typed = replace(option, unset=None)
    if problem := typed.find_problem(value):
        raise argparse.ArgumentTypeError(problem)
    return value


def _allowed_number(option: Option, text: str) -> int:
    number: int = _allowed(option, whole_number(text))
    return number


def duration(text: str) -> float:
    """Seconds out of ``90``, ``90s``, ``10m``, ``2h`` or ``1h30m``."""
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        try:
            seconds = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a duration; give seconds, or such as 10m, 2h, 1h30m"
            ) from None
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not more than 0 seconds")
    return seconds


def duration_or_never(text: str) -> float:
    """The same, or ``0``: never."""
    return 0.0 if text == "0" else duration(text)


def fraction(text: str) -> float:
    """A fraction from 0 to 1, also written as ``97%``."""
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a fraction; give such as 0.97 or 97%") from None
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1; 0.97 is 97%")
    return value


def whole_number(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if (value := whole_number(text)) < 1:
        raise argparse.ArgumentTypeError(f"at least 1, got {value}")
    return value


def options_object(text: str) -> dict[str, Any]:
    """A JSON object: a JSON or YAML file, or JSON itself."""
    if text.lstrip().startswith("{"):
        return _read_object(text, "the value", yaml=False)
    path = Path(text)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(
            f"{text}: cannot be read ({getattr(error, 'strerror', None) or error}); give a JSON or YAML file, "
            "or JSON itself such as {...}"
        ) from None
    return _read_object(content, text, yaml=path.suffix.lower() in (".yaml", ".yml"))


def _read_object(text: str, place: str, *, yaml: bool) -> dict[str, Any]:
    try:
        if yaml:
            # Imported here: most commands need no YAML.
            from yaml import YAMLError, load

            from kfp_image_tuning.delivery.readable_yaml import YamlLoader

            try:
                document = load(text, YamlLoader)
            except YAMLError as error:
                raise ValueError(str(error).replace("\n", " ")) from None
        else:
            document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{place}: is not valid {'YAML' if yaml else 'JSON'}: {error}") from None
    if not isinstance(document, dict):
        raise argparse.ArgumentTypeError(
            f"{place}: holds a {type(document).__name__}; an object is needed, with names and values"
        )
    return document
