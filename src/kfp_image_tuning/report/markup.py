"""HTML and SVG as values that cannot be written wrongly: every text is escaped on its way in.

`Markup` is text that is HTML already; whatever else is put into an element is escaped. Class names and file names come
from users' data, so nothing in this package builds HTML in any other way.
"""

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content: TypeAlias = "str | Iterable[Content] | None"
"""What may stand in an element: text, markup, several of them, or nothing."""


def join(parts: Iterable[Content]) -> Markup:
    """Put parts one after the other."""
    return Markup("".join(_render(part) for part in parts))


def element(name: str, /, *content: Content, **attributes: str | float | bool | None) -> Markup:
    """One element.

    Args:
        name: Its tag.
        *content: What stands in it.
        **attributes: Underscores become hyphens, one at the end is dropped (``class_``); True is an attribute without
            value, None and False are left out; numbers are shortened to what a screen can show.
    """
    written = "".join(_attribute(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(content)}</{name}>")


def short(number: float) -> str:
    """A coordinate with no more digits than a screen can show."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    text = value if isinstance(value, str) else short(value)
    return f' {name}="{escape(text)}"'


def _render(part: Content) -> str:
    if part is None:
        return ""
    if isinstance(part, Markup):
        return str(part)
    if isinstance(part, str):
        return escape(part)
    return join(part)
