"""Charts of a search: its history, its learning curves, and accuracy over each hyperparameter's range."""

from collections.abc import Callable, Mapping, Sequence

from kfp_image_tuning.report.blocks import bar, head
from kfp_image_tuning.report.importance import unit_position
from kfp_image_tuning.report.markup import Content, Markup, element
from kfp_image_tuning.report.plot import (
    Axis,
    Frame,
    accuracy_axis,
    count_axis,
    legend,
    linear_axis,
    mark,
    path,
    picture,
)
from kfp_image_tuning.report.wording import percent, value
from kfp_image_tuning.search.ranges import CategoricalRange, Range
from kfp_image_tuning.search.result import Trial, TrialStatus, find_best_trial

STATUS_WORDS: Mapping[TrialStatus, str] = {
    "completed": "completed",
    "early_stopped": "early-stopped",
    "stopped": "cut off",
    "failed": "failed",
    "running": "running",
}


def history_chart(trials: Sequence[Trial], started_at: float, by_time: bool) -> Markup:
    """Every trial's accuracy and the best so far, over the trials or over time."""
    axis = accuracy_axis([trial.objective for trial in trials if trial.objective is not None])
    if by_time:
        ends = [(trial.finished_at or trial.started_at or started_at) - started_at for trial in trials]
        horizontal, title = _time_axis(max(ends, default=1.0))
    else:
        ends = [float(number) for number in range(1, len(trials) + 1)]
        horizontal, title = count_axis(1, len(trials)), "trial, in the order of their start"
    frame = Frame()
    marks: list[Content] = []
    steps: list[tuple[float, float]] = []
    best: float | None = None
    for number in sorted(range(len(trials)), key=lambda number: (ends[number], number)):
        trial = trials[number]
        x = frame.x(horizontal.place(ends[number]))
        if trial.objective is not None and (best is None or trial.objective > best):
            steps += [] if best is None else [(x, frame.y(axis.place(best)))]
            best = trial.objective
            steps.append((x, frame.y(axis.place(best))))
        y = frame.y(axis.place(trial.objective)) if trial.objective is not None else frame.y(0) - 8
        marks.append(mark(trial.status, x, y, element("title", describe(trial)), data_trial=str(number)))
    if best is not None:
        steps.append((frame.x(1), frame.y(axis.place(best))))
    return frame.draw(
        horizontal,
        axis,
        (title, "validation accuracy"),
        f"Search history by {'time' if by_time else 'trial'}",
        f"Validation accuracy of {len(trials)} trials; the best: {'none' if best is None else percent(best)}.",
        path(steps, class_="running-best"),
        marks,
    )


def history_legend(trials: Sequence[Trial]) -> Markup:
    """What the marks of the history mean, as far as they occur."""
    counts = {status: sum(trial.status == status for trial in trials) for status in STATUS_WORDS}
    entries = [(status, f"{words} ({counts[status]})") for status, words in STATUS_WORDS.items() if counts[status]]
    return legend([*entries, ("line running-best", "best so far")])


def learning_curves(trials: Sequence[Trial]) -> Markup | None:
    """Validation accuracy by epoch of every trial, the best one marked; None if no epochs are known."""
    curves = [(number, trial) for number, trial in enumerate(trials) if trial.history]
    if not curves:
        return None
    best = find_best_trial([trial for _, trial in curves])
    epochs = max(trial.history[-1].epoch for _, trial in curves) + 1
    reached = [epoch.validation_accuracy for _, trial in curves for epoch in trial.history]
    trained = [epoch.train_accuracy for epoch in best.history if epoch.train_accuracy is not None] if best else []
    axis, horizontal, frame = accuracy_axis(reached + trained), count_axis(1, epochs), Frame()

    def point(epoch: int, accuracy: float) -> tuple[float, float]:
        return frame.x(horizontal.place(epoch + 1)), frame.y(axis.place(accuracy))

    lines: list[Content] = []
    for number, trial in curves:
        points = [point(epoch.epoch, epoch.validation_accuracy) for epoch in trial.history]
        kind = "best" if best and trial.name == best.name else trial.status
        line = (
            path(points, class_=f"curve {kind}")
            if len(points) > 1
            else element("circle", class_=f"curve dot {kind}", cx=points[0][0], cy=points[0][1], r=3)
        )
        lines.append(element("g", element("title", describe(trial)), line, data_trial=str(number)))
        if kind == "best":
            on_training = [point(e.epoch, e.train_accuracy) for e in trial.history if e.train_accuracy is not None]
            lines.append(path(on_training, class_="curve training"))
    # The best last, so that nothing covers it.
    lines.sort(key=lambda line: "curve best" in str(line) or "curve training" in str(line))
    return frame.draw(
        horizontal,
        axis,
        ("epoch", "accuracy"),
        "Learning curves",
        f"Validation accuracy by epoch of {len(curves)} trials, up to {epochs} epochs.",
        lines,
    )


def curves_legend(trials: Sequence[Trial]) -> Markup:
    """What the lines of the learning curves mean, as far as they occur."""
    with_epochs = [trial for trial in trials if trial.history]
    entries = [("line curve best", "best trial")]
    if any(epoch.train_accuracy is not None for trial in with_epochs for epoch in trial.history):
        entries.append(("line curve training", "the same, on training images"))
    if len(with_epochs) > 1:
        entries.append(("line curve completed", "other trials"))
    if any(trial.status == "early_stopped" for trial in with_epochs):
        entries.append(("line curve early_stopped", "early-stopped"))
    return legend(entries)


def slice_chart(
    trials: Sequence[Trial], name: str, values: Range, axis: Axis, optimizers: Sequence[str]
) -> Markup | None:
    """Accuracy over one hyperparameter's range, for the trials in which it is active; None if there is none."""
    frame = Frame(width=300, height=200, left=52, right=12, top=10, bottom=30)
    horizontal = range_axis(values)
    marks = []
    for number, trial in enumerate(trials):
        place = unit_position(values, trial.hyperparameters.get(name))
        if trial.objective is None or place != place:
            continue
        kind = optimizer_class(trial, optimizers)
        x = frame.x(0.02 + 0.96 * place)
        marks.append(
            mark(
                kind, x, frame.y(axis.place(trial.objective)), element("title", describe(trial)), data_trial=str(number)
            )
        )
    if not marks:
        return None
    shown = Axis(lambda value: 0.02 + 0.96 * horizontal.place(value), horizontal.ticks)
    return element(
        "figure",
        element("figcaption", name),
        frame.draw(
            shown, axis, ("", ""), f"Accuracy over {name}", f"Validation accuracy of {len(marks)} trials.", marks
        ),
        class_="slice",
    )


def optimizer_class(trial: Trial, optimizers: Sequence[str]) -> str:
    """The class of a mark that stands for the trial's optimizer."""
    name = trial.hyperparameters.get("optimizer")
    return f"series series-{optimizers.index(name) if name in optimizers else 0}"


def range_axis(values: Range) -> Axis:
    """An axis over a range, by its own scaling, with its ends and its middle marked."""
    if isinstance(values, CategoricalRange):
        last = max(1, len(values.values) - 1)
        return Axis(lambda place: place, tuple((n / last, str(choice)) for n, choice in enumerate(values.values)))
    ends = ((0.0, value(values.minimum)), (0.5, value(values.from_unit(0.5))), (1.0, value(values.maximum)))
    return Axis(lambda place: place, ends)


def importance_bars(shares: Mapping[str, float], users: Callable[[str], str]) -> Markup:
    """A table of bars: each hyperparameter's importance."""
    largest = max(shares.values())
    rows = (
        element(
            "tr",
            element("th", name, element("small", users(name)), scope="row"),
            element("td", bar(share / largest), class_="bar-cell"),
            element("td", percent(share, 0), class_="number"),
        )
        for name, share in shares.items()
    )
    heading = element("tr", head("Hyperparameter"), element("td"), head("Importance", number=True))
    return element("table", element("thead", heading), element("tbody", *rows), class_="bars")


def interval_strip(low: float, accuracy: float, high: float, marks: Sequence[tuple[float, str, str]]) -> Markup:
    """Accuracy with its interval on a line.

    Args:
        low: Lower end of the interval.
        accuracy: The accuracy itself.
        high: Upper end.
        marks: Other accuracies on the same line: value, class, name.
    """
    ends = [low, high, *(place for place, _, _ in marks)]
    room = max(0.004, (max(ends) - min(ends)) * 0.12)
    first, last = max(0.0, min(ends) - room), min(1.0, max(ends) + room)
    axis = linear_axis(first, last, lambda share: percent(share, 1 if last - first < 0.1 else 0), 5)
    frame = Frame(width=440, height=50, left=24, right=24, top=2, bottom=18)
    y = frame.y(0.5)
    parts: list[Content] = [
        element("line", class_="axis", x1=frame.x(0), x2=frame.x(1), y1=y, y2=y),
        element(
            "rect",
            class_="interval",
            x=frame.x(axis.place(low)),
            y=y - 8,
            width=max(1.0, frame.x(axis.place(high)) - frame.x(axis.place(low))),
            height=16,
            rx=3,
        ),
    ]
    for place, kind, name in marks:
        x = frame.x(axis.place(place))
        title = element("title", f"{name}: {percent(place)}")
        parts.append(element("line", title, class_=kind, x1=x, x2=x, y1=y - 13, y2=y + 13))
    parts.append(element("circle", class_="point", cx=frame.x(axis.place(accuracy)), cy=y, r=6))
    for number, (place, label) in enumerate(axis.ticks):
        minor = " minor" if number % 2 else ""
        x = frame.x(axis.place(place))
        parts.append(element("line", class_="axis", x1=x, x2=x, y1=y + 9, y2=y + 13))
        parts.append(element("text", label, class_=f"tick{minor}", x=x, y=47, text_anchor="middle"))
    text = f"{percent(accuracy)}, interval from {percent(low)} to {percent(high)}."
    return picture(440, 50, "Accuracy and its interval", text, *parts, class_="strip")


def describe(trial: Trial) -> str:
    """A trial in one line."""
    reached = "no accuracy" if trial.objective is None else percent(trial.objective, 2)
    settings = ", ".join(f"{name} {value(item)}" for name, item in sorted(trial.hyperparameters.items()))
    return f"{trial.name}: {reached}, {STATUS_WORDS[trial.status]} ({settings})"


def _time_axis(seconds: float) -> tuple[Axis, str]:
    """An axis of time since the start, in a unit that fits, and its title."""
    unit, factor = next(
        (pair for pair in (("hours", 3600.0), ("minutes", 60.0)) if seconds > 2 * pair[1]), ("seconds", 1.0)
    )
    axis = linear_axis(0.0, seconds / factor, lambda number: f"{number:g}")
    return Axis(lambda time: axis.place(time / factor), tuple((n * factor, label) for n, label in axis.ticks)), (
        f"{unit} since the start, when trials ended"
    )
