"""What is told about an option: in help texts, docstrings and references."""

import json

from kfp_image_tuning.options.declaration import Option

_KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "object"}


def describe(option: Option) -> str:
    """What an option is and what it accepts; begins in lower case and ends without a full stop."""
    text = option.help
    if option.choices:
        text += f": {_list_choices(option)}"
    if option.unit == "fraction":
        text += ", from 0 to 1"
    if option.unit == "seconds":
        text += ", in seconds"
    if option.least is not None and option.least > 1:
        text += f", at least {option.least}"
    if option.most is not None:
        text += f", at most {option.most}"
    return text


def sentence(option: Option) -> str:
    """The whole of it for those who write parameters, where a value stands for "not set"."""
    text = capitalized(describe(option))
    if option.default is None:
        text += f"; {format_parameter(option.unset) or 'empty'}: {option.otherwise}"
    return f"{text}."


def capitalized(text: str) -> str:
    """A text with its first letter in upper case, and the others as they are."""
    return text[0].upper() + text[1:]


def format_parameter(value: object) -> str:
    """A parameter's value as one types it into the run form."""
    if isinstance(value, bool | dict):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def default_words(option: Option) -> str:
    """What holds if nothing is given; empty: nothing that needs to be told."""
    if option.is_required or option.kind is dict:
        return ""
    if option.default is None:
        return option.otherwise
    return ("yes" if option.default else "no") if option.kind is bool else format_parameter(option.default)


def type_words(option: Option) -> str:
    """Its type, with the unit."""
    if option.choices:
        return ", ".join(option.choices)
    return {"fraction": "fraction", "seconds": "number of seconds"}.get(option.unit, _KINDS[option.kind])


def _list_choices(option: Option) -> str:
    told = [f"{name} ({meaning})" if meaning else name for name, meaning in option.choices.items()]
    return f"{', '.join(told[:-1])} or {told[-1]}"
