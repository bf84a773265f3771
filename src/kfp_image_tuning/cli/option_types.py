"""What options accept: durations, shares, shapes, a search space in a file or in the command itself."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


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


def share_or_number(text: str) -> str:
    """A number of images, or a fraction with a percent sign; the component reads it."""
    if re.fullmatch(r"\d+(\.\d+)?%|\d+", text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is neither a number of images such as 20 nor a percentage such as 5%")


def positive(text: str) -> int:
    """A whole number of at least 1."""
    return _at_least(text, 1)


def natural(text: str) -> int:
    """A whole number of at least 0."""
    return _at_least(text, 0)


def image_shape(text: str) -> str:
    """``auto``, or channels, height and width such as ``3,224,224``."""
    if text == "auto" or re.fullmatch(r"[13],[1-9]\d*,[1-9]\d*", text):
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} is not an image shape; give channels,height,width such as 3,224,224, or auto"
    )


def search_space(text: str) -> dict[str, Any]:
    """Changes to the search space: a JSON or YAML file, or JSON itself."""
    return _object_of(text, "the search space", _SEARCH_SPACE_EXAMPLE)


def options_object(text: str) -> dict[str, Any]:
    """Options of an engine: a JSON or YAML file, or JSON itself."""
    return _object_of(text, "the options", "")


_SEARCH_SPACE_EXAMPLE = '{"learning_rate": {"min": 1e-4, "max": 0.1}, "optimizer": ["sgd", "adam"]}'


def _object_of(text: str, what: str, example: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        return _read_object(text, what, example, yaml=False)
    path = Path(text)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(
            f"{text}: cannot be read ({getattr(error, 'strerror', None) or error}); give a JSON or YAML file, "
            f"or JSON itself such as {example or '{...}'}"
        ) from None
    return _read_object(content, text, example, yaml=path.suffix.lower() in (".yaml", ".yml"))


def _read_object(text: str, place: str, example: str, *, yaml: bool) -> dict[str, Any]:
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
            f"{place}: holds a {type(document).__name__}; an object is needed"
            + (f", such as {example}" if example else ", with names and values")
        )
    return document


def _at_least(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"at least {least}, got {value}")
    return value
