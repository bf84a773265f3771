"""The search: its history, what mattered, and every trial."""

from collections.abc import Mapping, Sequence

from kfp_image_tuning.core.wording import count, duration
from kfp_image_tuning.report.blocks import card, columns, facts, folded, head, note, number_cell, scrolling, section
from kfp_image_tuning.report.charts_parallel import parallel_coordinates
from kfp_image_tuning.report.charts_search import (
    STATUS_WORDS,
    curves_legend,
    history_chart,
    history_legend,
    importance_bars,
    learning_curves,
    slice_chart,
)
from kfp_image_tuning.report.importance import LEAST_EXPLAINED, LEAST_TRIALS, Importance, find_importance
from kfp_image_tuning.report.markup import Content, Markup, element
from kfp_image_tuning.report.plot import accuracy_axis, legend
from kfp_image_tuning.report.wording import percent, value
from kfp_image_tuning.search.hyperparameter_table import USED_BY_OPTIMIZER
from kfp_image_tuning.search.ranges import CategoricalRange, Range
from kfp_image_tuning.search.result import Trial, TuningResult
from kfp_image_tuning.search.search_space import SearchSpace

NOTHING = "\N{EN DASH}"
STRATEGIES = {
    "bayesian": "bayesian: a model of what worked proposes the next trial",
    "random": "random: every trial by chance",
    "grid": "grid: every combination",
    "hyperband": "hyperband: many cheap starts, of which the best continue",
}


def search_section(result: TuningResult) -> Markup:
    """How the search went."""
    space = SearchSpace.from_dict(result.search["space"])
    scored = [trial for trial in result.trials if trial.objective is not None]
    if not scored:
        return section("search", "Search", card(None, note("No trial reached an accuracy.")), _settings(result, space))
    accuracies = [trial.objective for trial in scored if trial.objective is not None]
    curves = learning_curves(result.trials)
    return section(
        "search",
        "Search",
        columns(
            card("History", _history(result), history_legend(result.trials), _history_note(result.trials, accuracies)),
            card(
                "Learning curves",
                curves or note("No epochs are known of these trials."),
                curves_legend(result.trials) if curves else None,
            ),
        ),
        _importance(result.trials, space),
        _parallel(result.trials, space),
        _settings(result, space),
    )


def _history(result: TuningResult) -> Markup:
    """Both views, of which the chosen one is shown, without any script."""
    views = (("trials", "by trial", False), ("time", "by time", True))
    parts: list[Content] = []
    for position, (name, words, _) in enumerate(views):
        identifier = f"history-{name}"
        parts.append(element("input", type="radio", name="history", id=identifier, checked=position == 0))
        parts.append(element("label", words, for_=identifier))
    parts += [
        element("div", history_chart(result.trials, result.started_at, by_time), class_=f"view {name}")
        for name, _, by_time in views
    ]
    return element("div", *parts, class_="switch")


def _history_note(trials: Sequence[Trial], accuracies: Sequence[float]) -> Markup:
    sentences = [accuracy_axis(accuracies).note]
    if any(trial.objective is None for trial in trials):
        sentences.append("Trials without an accuracy stand at the lower edge.")
    return note(" ".join(sentences).strip())


def _importance(trials: Sequence[Trial], space: SearchSpace) -> Markup:
    importance = find_importance(trials, space.ranges)
    scored = [trial for trial in trials if trial.objective is not None]
    axis = accuracy_axis([trial.objective for trial in scored if trial.objective is not None])
    order = [*importance.shares, *(name for name in space.ranges if name not in importance.shares)]
    slices = [
        slice_chart(trials, name, space.ranges[name], axis, space.optimizers)
        for name in order
        if not (name == "optimizer" and len(space.optimizers) == 1)
    ]
    kinds = [(f"series series-{number}", name) for number, name in enumerate(space.optimizers)]
    return card(
        "What mattered",
        _importance_text(importance),
        importance_bars(importance.shares, lambda name: _users(name, space)) if importance.shares else None,
        *(
            (
                element("h4", "Accuracy over each hyperparameter's range"),
                element("div", *slices, class_="slices"),
                legend(kinds),
            )
            if len(scored) > 2
            else ()
        ),
    )


def _importance_text(importance: Importance) -> Markup:
    if importance.explained is None:
        return note(
            f"With {count(importance.trials, 'comparable trial')}, nothing can be said about what mattered; it takes "
            f"{LEAST_TRIALS} or more that differ."
        )
    method = (
        "A forest of small regression trees learned the ranks of the trials from their hyperparameters; the "
        "importance of one is what predictions of unseen trials lose when it is shuffled among the trials that use it."
    )
    if not importance.shares:
        return note(
            f"{count(importance.trials, 'trial')} do not tell what mattered. {method} But it explains less than "
            f"{percent(LEAST_EXPLAINED, 0)} of the differences between trials that it has not seen, so importances "
            "would mean nothing."
        )
    trust = "Read them as a hint: " if importance.trials < 30 or importance.explained < 0.3 else ""
    return note(
        f"{method} {trust}From {count(importance.trials, 'trial')} it explains "
        f"{percent(importance.explained or 0.0, 0)} of the differences between unseen ones."
    )


def _users(name: str, space: SearchSpace) -> str:
    users = [optimizer for optimizer in USED_BY_OPTIMIZER.get(name, ()) if optimizer in space.optimizers]
    return f" with {', '.join(users)}" if users and len(users) < len(space.optimizers) else ""


def _parallel(trials: Sequence[Trial], space: SearchSpace) -> Markup | None:
    chart = parallel_coordinates(trials, space.ranges)
    if chart is None:
        return None
    return card(
        "All trials at once",
        note(
            "Each line is a trial, the stronger its colour the better; dotted where a hyperparameter is not used by "
            "the trial's optimizer. Axes run by the scaling of each range."
        ),
        chart,
        element(
            "p",
            "Point at a line, a mark or a row of the table to see its trial here; click to keep it.",
            class_="readout",
            role="status",
        ),
        class_="picker",
    )


def _settings(result: TuningResult, space: SearchSpace) -> Markup:
    search = result.search
    budget = search.get("budget", {})
    limits = [
        f"{budget.get('max_trials')} trials",
        f"{duration(budget['max_seconds'])}" if budget.get("max_seconds") else None,
        f"target {percent(budget['target_objective'])}" if budget.get("target_objective") else None,
        f"{budget['patience']} trials without improvement" if budget.get("patience") else None,
    ]
    strategy = str(search.get("strategy"))
    pairs: list[tuple[str, Content]] = [
        ("Engine", result.engine),
        ("Strategy", STRATEGIES.get(strategy, strategy)),
        ("Limits", ", ".join(limit for limit in limits if limit)),
        ("Ended", f"{result.status}: {result.stop_reason}"),
        ("Seed", str(search.get("seed"))),
        ("Objective", "validation:accuracy of the best epoch, maximized"),
    ]
    rows = (
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", _range_words(values)),
            element("td", _users(name, space)),
        )
        for name, values in space.ranges.items()
    )
    heading = element("tr", head("Hyperparameter"), head("Range"), head("Used"))
    table = element("table", element("thead", heading), element("tbody", *rows))
    return card(None, folded("How it was searched", facts(pairs), scrolling(table, "Search space")))


def _range_words(values: Range) -> str:
    if isinstance(values, CategoricalRange):
        return ", ".join(map(str, values.values))
    return f"{value(values.minimum)} to {value(values.maximum)}, {values.scaling.replace('_', '-')}"


def trials_section(result: TuningResult) -> Markup:
    """The table of all trials."""
    names = sorted({name for trial in result.trials for name in trial.hyperparameters})
    best = result.best_trial
    heading = element(
        "tr",
        head("Trial"),
        head("Status"),
        *(head(text, number=True) for text in ("Accuracy", "Epochs", "Time")),
        *(head(name, number=True) for name in names),
        head("Remark"),
    )
    rows = (
        _trial_row(number, trial, names, is_best=best is not None and trial.name == best.name)
        for number, trial in enumerate(result.trials)
    )
    table = element("table", element("thead", heading), element("tbody", *rows), class_="sortable trials")
    content = scrolling(table, "All trials", tall=len(result.trials) > 30) if result.trials else note("There are none.")
    return section("trials", "Trials", card(None, content))


def _trial_row(number: int, trial: Trial, names: Sequence[str], is_best: bool) -> Markup:
    remark = trial.failure_reason or trial.note or ("best" if is_best else "")
    return element(
        "tr",
        element("th", trial.name, scope="row"),
        element("td", element("span", STATUS_WORDS[trial.status], class_=f"status {trial.status}")),
        number_cell(trial.objective, NOTHING if trial.objective is None else percent(trial.objective, 2)),
        number_cell(float(len(trial.history)), str(len(trial.history))),
        number_cell(trial.seconds, duration(trial.seconds)),
        *(_value_cell(trial.hyperparameters, name) for name in names),
        element("td", remark, class_="remark"),
        data_trial=str(number),
        class_="best-row" if is_best else None,
    )


def _value_cell(values: Mapping[str, object], name: str) -> Markup:
    if name not in values:
        return number_cell(None, NOTHING)
    item = values[name]
    if isinstance(item, bool) or not isinstance(item, int | float):
        return element("td", value(item), class_="number")
    # Not shortened for sorting: decay rates differ in their last digits.
    return element("td", value(item), class_="number", data_sort=repr(item), title=repr(item))
