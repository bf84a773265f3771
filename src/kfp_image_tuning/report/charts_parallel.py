"""Parallel coordinates: one line a trial through all hyperparameters, coloured by what it reached.

Every axis is laid out by its range's own scaling. Where a hyperparameter is inactive, a trial's line has a gap; a thin
dotted line leads the eye across.
"""

from collections.abc import Mapping, Sequence

from kfp_image_tuning.report.blocks import scrolling
from kfp_image_tuning.report.charts_search import describe, range_axis
from kfp_image_tuning.report.importance import unit_position
from kfp_image_tuning.report.markup import Content, Markup, element
from kfp_image_tuning.report.plot import accuracy_axis, path, picture
from kfp_image_tuning.search.hyperparameter_table import USED_BY_OPTIMIZER
from kfp_image_tuning.search.ranges import Range
from kfp_image_tuning.search.result import Trial

HEIGHT, TOP, BOTTOM = 360.0, 44.0, 24.0
SPACING, SIDE = 116.0, 66.0

FEW = 40
"""Up to so many lines, even the worst can be drawn strongly enough to be followed."""


def parallel_coordinates(trials: Sequence[Trial], ranges: Mapping[str, Range]) -> Markup | None:
    """The chart; None if no trial has an accuracy."""
    scored = [(number, trial) for number, trial in enumerate(trials) if trial.objective is not None]
    if not scored or not ranges:
        return None
    names = sorted(ranges, key=lambda name: (name != "optimizer", name in USED_BY_OPTIMIZER, name))
    objective = accuracy_axis([trial.objective or 0.0 for _, trial in scored])
    width = 2 * SIDE + SPACING * len(names)
    # The worst first, so that good ones are on top.
    scored.sort(key=lambda pair: pair[1].objective or 0.0)
    lines = []
    for rank, (number, trial) in enumerate(scored):
        places = [unit_position(ranges[name], trial.hyperparameters.get(name)) for name in names]
        places.append(objective.place(trial.objective or 0.0))
        # Squared, so that the best few stand out of many.
        quality = (rank / max(1, len(scored) - 1)) ** 2 if len(scored) > 1 else 1.0
        lines.append(
            element(
                "g",
                element("title", describe(trial)),
                _line(places),
                class_="trial best" if rank == len(scored) - 1 else "trial",
                data_trial=str(number),
                style=f"--quality:{quality * 100:.0f}%",
            )
        )
    axes: list[Content] = [
        _axis(number, name, range_axis(ranges[name]).ticks, name == "optimizer") for number, name in enumerate(names)
    ]
    ticks = tuple((objective.place(place), label) for place, label in objective.ticks)
    axes.append(_axis(len(names), "accuracy", ticks, False))
    text = f"{len(scored)} trials over {', '.join(names)}; the last axis is the validation accuracy."
    drawn = picture(
        width,
        HEIGHT,
        "Parallel coordinates",
        text,
        element("g", *lines),
        element("g", *axes),
        class_="parallel few" if len(scored) <= FEW else "parallel",
    )
    return scrolling(drawn, "Parallel coordinates")


def _line(places: Sequence[float]) -> list[Markup]:
    """Solid where both ends are active, dotted across gaps."""
    points = [(_x(number), _y(place)) for number, place in enumerate(places) if place == place]
    active = [number for number, place in enumerate(places) if place == place]
    parts, start = [], 0
    for position in range(1, len(active) + 1):
        if position < len(active) and active[position] == active[position - 1] + 1:
            continue
        piece = points[start:position]
        if len(piece) > 1:
            parts.append(path(piece))
        else:
            parts.append(element("circle", class_="lone", cx=piece[0][0], cy=piece[0][1], r=2.5))
        if position < len(active):
            parts.append(path(points[position - 1 : position + 1], class_="gap"))
        start = position
    return parts


def _axis(number: int, name: str, ticks: Sequence[tuple[float, str]], choices: bool) -> Markup:
    x = _x(number)
    parts: list[Content] = [
        element("line", class_="axis", x1=x, x2=x, y1=_y(0), y2=_y(1)),
        element("text", name, class_="axis-name", x=x, y=18, text_anchor="middle"),
    ]
    for place, label in ticks:
        y = _y(place)
        parts.append(element("line", class_="axis", x1=x - 3, x2=x + 3, y1=y, y2=y))
        side, anchor = (x - 7, "end") if choices else (x + 7, "start")
        parts.append(element("text", label, class_="tick", x=side, y=y, dy="0.35em", text_anchor=anchor))
    return element("g", *parts)


def _x(number: int) -> float:
    return SIDE + number * SPACING


def _y(place: float) -> float:
    return HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
