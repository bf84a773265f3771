"""Axes and frames of charts, drawn by hand as SVG.

A chart is drawn in units of its own and scales with the page. On narrow screens the style sheet makes its text larger
and hides what is marked ``minor``, so that it stays readable there.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kfp_image_tuning.report.markup import Content, Markup, element, short
from kfp_image_tuning.report.wording import percent

LOGARITHMIC_FROM = 0.9
"""Where the best accuracy is at least this, what matters is how the error shrinks: its axis becomes logarithmic."""

_ROUND_ERRORS = (
    0.9,
    0.8,
    0.5,
    0.3,
    0.2,
    0.1,
    0.05,
    0.03,
    0.02,
    0.01,
    0.005,
    0.003,
    0.002,
    0.001,
    0.0005,
    0.0002,
    0.0001,
)


@dataclass(frozen=True)
class Axis:
    """Values laid along a line.

    Attributes:
        place: A value's place, 0 to 1.
        ticks: Marked values and their labels; every other one is minor.
        note: What a reader must know of the scale.
    """

    place: Callable[[float], float]
    ticks: tuple[tuple[float, str], ...]
    note: str = ""


@dataclass(frozen=True)
class Frame:
    """The drawing area of a chart, in its own units."""

    width: float = 560
    height: float = 320
    left: float = 76
    right: float = 16
    top: float = 14
    bottom: float = 50

    def x(self, place: float) -> float:
        """Horizontal coordinate of a place, 0 to 1."""
        return self.left + place * (self.width - self.left - self.right)

    def y(self, place: float) -> float:
        """Vertical coordinate of a place, 0 (below) to 1 (above)."""
        return self.height - self.bottom - place * (self.height - self.top - self.bottom)

    def draw(
        self, horizontal: Axis, vertical: Axis, titles: tuple[str, str], name: str, description: str, *marks: Content
    ) -> Markup:
        """A chart with both axes.

        Args:
            horizontal: Its x axis.
            vertical: Its y axis.
            titles: What the axes show.
            name: The chart's name for those who do not see it.
            description: What it shows, for the same readers.
            *marks: What is drawn over the axes.
        """
        across = self._draw_horizontal(horizontal)
        upwards = self._draw_vertical(vertical)
        middle = (self.x(0) + self.x(1)) / 2, (self.y(0) + self.y(1)) / 2
        labels = (
            element("text", titles[0], class_="axis-title", x=middle[0], y=self.height - 6, text_anchor="middle"),
            element(
                "text",
                titles[1],
                class_="axis-title minor",
                transform=f"translate(12 {short(middle[1])}) rotate(-90)",
                text_anchor="middle",
            ),
        )
        return picture(self.width, self.height, name, description, upwards, across, labels, *marks)

    def _draw_horizontal(self, axis: Axis) -> Markup:
        bottom = self.y(0)
        marks = [element("line", class_="axis", x1=self.x(0), x2=self.x(1), y1=bottom, y2=bottom)]
        for number, (value, label) in enumerate(axis.ticks):
            x, minor = self.x(axis.place(value)), " minor" if number % 2 else ""
            marks.append(element("line", class_="axis", x1=x, x2=x, y1=bottom, y2=bottom + 4))
            marks.append(element("text", label, class_=f"tick{minor}", x=x, y=bottom + 19, text_anchor="middle"))
        return element("g", *marks)

    def _draw_vertical(self, axis: Axis) -> Markup:
        marks = []
        for number, (value, label) in enumerate(axis.ticks):
            y, minor = self.y(axis.place(value)), " minor" if number % 2 else ""
            marks.append(element("line", class_="grid", x1=self.x(0), x2=self.x(1), y1=y, y2=y))
            marks.append(
                element("text", label, class_=f"tick{minor}", x=self.left - 8, y=y, dy="0.35em", text_anchor="end")
            )
        return element("g", *marks)


def picture(width: float, height: float, name: str, description: str, *content: Content, class_: str = "") -> Markup:
    """An SVG with a name and a description."""
    return element(
        "svg",
        element("title", name),
        element("desc", description),
        *content,
        viewBox=f"0 0 {short(width)} {short(height)}",
        role="img",
        class_=f"chart {class_}".strip(),
    )


def path(points: Iterable[tuple[float, float]], **attributes: str | float | bool | None) -> Markup:
    """A line through points."""
    steps = " ".join(f"{short(x)},{short(y)}" for x, y in points)
    return element("polyline", points=steps, fill="none", **attributes)


def accuracy_axis(values: Sequence[float]) -> Axis:
    """An axis for accuracies: logarithmic in the error where they are high, else linear."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if not values or high < LOGARITHMIC_FROM:
        return share_axis(low, high)
    errors = [1 - value for value in values]
    positive = [error for error in errors if error > 1e-9]
    # No error at all has no place on a logarithmic axis: it stands a little above the smallest one.
    least = min(positive, default=0.01) * (0.6 if min(errors) <= 1e-9 else 0.85)
    most = max(max(errors), least * 4)

    def place(value: float) -> float:
        error = min(max(1 - value, least), most)
        return math.log(most / error) / math.log(most / least)

    inside = [error for error in _ROUND_ERRORS if least <= error <= most]
    chosen: list[float] = []
    for error in inside:
        if not chosen or math.log(chosen[-1] / error) / math.log(most / least) > 0.09:
            chosen.append(error)
    ticks = tuple((1 - error, f"{(1 - error) * 100:g} %") for error in chosen)
    return Axis(
        place, ticks, "The accuracy axis is logarithmic in the error: each equal step up cuts it by the same factor."
    )


def share_axis(low: float, high: float) -> Axis:
    """A linear axis for shares, with a little room at both ends."""
    room = max(0.02, (high - low) * 0.06)
    low, high = max(0.0, low - room), min(1.0, high + room)
    return linear_axis(low, high, lambda value: percent(value, 0 if high - low > 0.08 else 1))


def linear_axis(low: float, high: float, label: Callable[[float], str], most: int = 7) -> Axis:
    """A linear axis with round ticks.

    Args:
        low: Its first value.
        high: Its last value.
        label: Names a tick.
        most: The most ticks.
    """
    if high <= low:
        high = low + 1
    raw = (high - low) / most
    scale = 10 ** math.floor(math.log10(raw))
    step = next(factor * scale for factor in (1, 2, 5, 10) if factor * scale >= raw)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    ticks = tuple((number * step, label(number * step)) for number in range(first, last + 1))
    return Axis(lambda value: (min(max(value, low), high) - low) / (high - low), ticks)


def count_axis(low: int, high: int) -> Axis:
    """An axis of whole numbers."""
    axis = linear_axis(low, max(high, low + 1), lambda value: f"{value:g}", 8)
    return Axis(axis.place, tuple(tick for tick in axis.ticks if float(tick[0]).is_integer()))


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """What marks mean: pairs of a mark's class and its meaning."""
    items = (
        element(
            "li",
            element("svg", mark(kind, 8, 8), viewBox="0 0 16 16", class_="key", aria_hidden="true"),
            meaning,
        )
        for kind, meaning in entries
    )
    return element("ul", *items, class_="legend")


def mark(kind: str, x: float, y: float, *content: Content, **attributes: str | float | bool | None) -> Markup:
    """A mark that can be told from others by its shape too; ``kind`` is its class, whose first word says the shape."""
    shape = kind.split()[0]
    if shape in ("failed", "stopped", "running"):
        size = 4.0
        lines = (
            f"M{short(x - size)} {short(y - size)}L{short(x + size)} {short(y + size)}"
            f"M{short(x - size)} {short(y + size)}L{short(x + size)} {short(y - size)}"
        )
        return element("path", *content, class_=f"mark cross {kind}", d=lines, **attributes)
    if shape == "early_stopped":
        corners = ((x, y - 5.5), (x + 5.5, y), (x, y + 5.5), (x - 5.5, y))
        steps = " ".join(f"{short(a)},{short(b)}" for a, b in corners)
        return element("polygon", *content, class_=f"mark {kind}", points=steps, **attributes)
    if shape == "line":
        return element("line", *content, class_=kind, x1=x - 7, x2=x + 7, y1=y, y2=y, **attributes)
    return element(
        "circle", *content, class_=f"mark {kind}", cx=x, cy=y, r=5 if shape == "completed" else 4, **attributes
    )
