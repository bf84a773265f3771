"""The building blocks of the page: sections, cards, facts, tables that scroll by themselves."""

from collections.abc import Iterable

from kfp_image_tuning.core.wording import short_fingerprint
from kfp_image_tuning.report.markup import Content, Markup, element


def section(identifier: str, title: str, *content: Content) -> Markup:
    """A part of the page with its heading."""
    return element(
        "section",
        element("h2", title, id=f"{identifier}-title"),
        *content,
        id=identifier,
        aria_labelledby=f"{identifier}-title",
    )


def card(title: str | None, *content: Content, class_: str = "") -> Markup:
    """A framed block, with a heading of its own if it has a title."""
    heading = element("h3", title) if title else None
    return element("div", heading, *content, class_=f"card {class_}".strip())


def columns(*cards: Content) -> Markup:
    """Cards side by side, or below each other where the page is narrow."""
    return element("div", *cards, class_="columns")


def note(*content: Content) -> Markup:
    """A remark in small print."""
    return element("p", *content, class_="note")


def facts(pairs: Iterable[tuple[str, Content]]) -> Markup:
    """A list of names and values."""
    parts = (part for name, fact in pairs for part in (element("dt", name), element("dd", fact)))
    return element("dl", *parts, class_="facts")


def tile(figure: str, name: str, detail: str = "") -> Markup:
    """One number that is read at a glance."""
    small = element("small", detail) if detail else None
    return element("div", element("b", figure), element("span", name), small, class_="tile")


def head(text: str, number: bool = False) -> Markup:
    """The heading of a table's column."""
    return element("th", text, scope="col", class_="number" if number else None)


def number_cell(number: float | None, text: str) -> Markup:
    """A table's cell that is sorted by its number; what has none comes last."""
    return element("td", text, class_="number", data_sort="" if number is None else f"{number:.6f}")


def short_code(fingerprint: str) -> Markup:
    """A fingerprint in short; whole where one points at it."""
    return element("code", short_fingerprint(fingerprint), title=fingerprint)


def bar(share: float, kind: str = "") -> Markup:
    """A bar that fills a fraction of its place."""
    width = f"--part:{max(0.0, min(1.0, share)) * 100:.1f}%"
    return element("span", class_=f"bar {kind}".strip(), style=width, aria_hidden="true")


def scrolling(content: Markup, name: str, tall: bool = False) -> Markup:
    """What scrolls by itself where it does not fit; ``tall``: upwards too."""
    kind = "wide tall" if tall else "wide"
    return element("div", content, class_=kind, tabindex="0", role="group", aria_label=f"{name}, scrolls")


def folded(summary: str, *content: Content) -> Markup:
    """Details that open on demand."""
    return element("details", element("summary", summary), *content)
