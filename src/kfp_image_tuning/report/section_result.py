"""The top of the page: how good the model is, with which hyperparameters, and what it cost."""

from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.core.wording import count, duration
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.report.blocks import card, columns, facts, folded, note, section, tile
from kfp_image_tuning.report.charts_search import interval_strip
from kfp_image_tuning.report.importance import unit_position
from kfp_image_tuning.report.markup import Content, Markup, element
from kfp_image_tuning.report.plot import legend
from kfp_image_tuning.report.wording import moment, percent, points, value
from kfp_image_tuning.search.ranges import CategoricalRange
from kfp_image_tuning.search.result import Trial, TuningResult
from kfp_image_tuning.search.search_space import SearchSpace

Evaluation = Mapping[str, Any]

ENGINES = {"local": "this machine", "katib": "Katib", "sagemaker": "Amazon SageMaker"}


def headline(result: TuningResult | None, evaluation: Evaluation | None) -> str:
    """The result in one line."""
    if evaluation:
        return f"{percent(evaluation['accuracy'])} accuracy on {evaluation['split']} images"
    if result is None:
        return "No search and no evaluation yet"
    best = result.best_trial
    if best is None or best.objective is None:
        return "The search found no model"
    return f"{percent(best.objective)} accuracy on validation images"


def page_header(result: TuningResult | None, dataset: Dataset | None, evaluation: Evaluation | None) -> Markup:
    """What this page is about, and the result."""
    about = ["Image classification"]
    if dataset:
        about.append(dataset.source.uri.rstrip("/").rsplit("/", 1)[-1] or dataset.source.uri)
    if result:
        about += [f"tuned on {ENGINES.get(result.engine, result.engine)}", moment(result.started_at)]
    return element(
        "header",
        element("p", " · ".join(about), class_="kicker"),
        element("h1", headline(result, evaluation)),
    )


def result_section(result: TuningResult | None, dataset: Dataset | None, evaluation: Evaluation | None) -> Markup:
    """The first section."""
    parts: list[Content] = []
    left: list[Content] = []
    if evaluation:
        left.append(_accuracy_card(result, evaluation))
    elif result:
        left.append(_unmeasured_card(result, dataset))
    best = result.best_trial if result else None
    right = _best_card(result, best) if result and best else None
    parts.append(columns(*left, right))
    # A gate without requirements passes everything, which is no news.
    if evaluation and evaluation["verdict"] and evaluation["verdict"]["checks"]:
        parts.insert(0, _verdict(evaluation["verdict"]))
    if result:
        parts.append(_cost(result))
    if evaluation:
        parts.append(_quality_tiles(evaluation))
    if not result and not evaluation:
        parts = [card(None, note("There is a data set, but no search and no evaluation yet."))]
    return section("result", "Result", *parts)


def _accuracy_card(result: TuningResult | None, evaluation: Evaluation) -> Markup:
    interval, accuracy = evaluation["accuracy_interval"], evaluation["accuracy"]
    selection = evaluation["selection"]
    best = result.best_trial if result else None
    objective = selection["objective"] if selection else best.objective if best else None
    marks = [] if objective is None else [(objective, "line validation-mark", "On validation images")]
    required = _required_accuracy(evaluation)
    if required is not None:
        marks.append((required, "line required-mark", "Required"))
    sentences: list[Content] = [
        element(
            "p",
            f"With 95 % confidence the true accuracy is between {percent(interval['low'])} and "
            f"{percent(interval['high'])}, as measured on {count(evaluation['images'], 'image')} that no trial saw.",
        )
        if evaluation["split"] == "test"
        else element(
            "p", f"Measured on the {evaluation['split']} images, which the search has seen: the truth is lower."
        ),
    ]
    if objective is not None:
        sentences.append(_selection_sentence(objective, accuracy))
    if guess := _share_of_largest_class(evaluation):
        sentences.append(note(f"Always naming the most frequent class would reach {percent(guess)}."))
    if evaluation["coverage"] < 1:
        missing = evaluation["images_in_split"] - evaluation["images"]
        sentences.append(
            element("p", f"{count(missing, 'image')} could not be read and are not counted.", class_="warning")
        )
    name = "Average accuracy over the classes" if evaluation["multi_label"] else "Fraction of images classified right"
    return card(
        None,
        element("p", percent(accuracy), class_="figure"),
        element("p", name, class_="figure-name"),
        interval_strip(interval["low"], accuracy, interval["high"], marks),
        legend([("line interval", "95 % interval"), *((kind, name.lower()) for _, kind, name in marks)]),
        sentences,
        class_="accuracy",
    )


def _selection_sentence(objective: float, accuracy: float) -> Markup:
    difference = points(accuracy - objective)
    return element(
        "p",
        f"The search saw {percent(objective)} on its validation images; from there to here it is {difference} points. "
        "The best of many trials is chosen by that number, so it flatters; this one does not.",
    )


def _required_accuracy(evaluation: Evaluation) -> float | None:
    for check in (evaluation["verdict"] or {}).get("checks", ()):
        if check["name"] == "min_accuracy" and check["difference"] is not None:
            return float(evaluation["accuracy"] - check["difference"])
    return None


def _share_of_largest_class(evaluation: Evaluation) -> float | None:
    if evaluation["multi_label"]:
        return None
    return float(max(entry["support"] for entry in evaluation["per_class"]) / evaluation["images"])


def _unmeasured_card(result: TuningResult, dataset: Dataset | None) -> Markup:
    best = result.best_trial
    if best is None or best.objective is None:
        reasons = sorted({trial.failure_reason for trial in result.trials if trial.failure_reason})
        return card(
            None,
            element("p", "No trial reached an accuracy.", class_="figure-name"),
            element("ul", *(element("li", reason) for reason in reasons[:5])),
            note(result.stop_reason),
        )
    images = result.search.get("dataset", {}).get("num_validation_samples")
    where = f"on {count(images, 'validation image')}" if images else "on the validation images"
    way_out = (
        "Evaluate the model on the test split" if dataset is None or "test" in dataset.splits else "Add a test split"
    )
    return card(
        None,
        element("p", percent(best.objective), class_="figure"),
        element("p", f"Validation accuracy of the best trial, {where}", class_="figure-name"),
        element(
            "p",
            "Not measured on test images yet. The best of many trials is chosen by this number, so it flatters. "
            f"{way_out} for an honest one.",
            class_="warning",
        ),
        class_="accuracy",
    )


def _verdict(verdict: Mapping[str, Any]) -> Markup:
    passed = verdict["passed"]
    reasons = (element("li", check["reason"]) for check in verdict["checks"])
    return element(
        "div",
        element("b", "Go" if passed else "No-go", class_="stamp"),
        element("ul", *reasons),
        class_=f"verdict {'go' if passed else 'no-go'}",
        role="status",
    )


def _best_card(result: TuningResult, best: Trial) -> Markup:
    space = SearchSpace.from_dict(result.search["space"])
    rows = []
    for name, item in sorted(best.hyperparameters.items(), key=lambda pair: (pair[0] != "optimizer", pair[0])):
        values = space.ranges.get(name)
        place: Content = None
        if values is not None and not isinstance(values, CategoricalRange):
            position = unit_position(values, item)
            ends = f"{value(values.minimum)} to {value(values.maximum)}, {values.scaling.replace('_', '-')}"
            if position == position:
                place = element("span", class_="place", style=f"--at:{position * 100:.1f}%", title=ends)
        elif values is not None:
            place = element("small", "of " + ", ".join(map(str, values.values)))
        rows.append(
            element(
                "tr",
                element("th", name, scope="row"),
                element("td", element("code", value(item))),
                element("td", place, class_="place-cell"),
            )
        )
    heading = element("tr", *(element("th", text, scope="col") for text in ("Hyperparameter", "Value", "In its range")))
    fixed = [(name, element("code", value(item))) for name, item in space.fixed.items()]
    epoch = "" if best.best_epoch is None else f", epoch {best.best_epoch + 1}"
    return card(
        "Best hyperparameters",
        element("table", element("thead", heading), element("tbody", *rows), class_="best"),
        note(f"From {best.name}{epoch}."),
        folded(f"{len(fixed)} more were the same in all trials", facts(fixed)) if fixed else None,
    )


def _cost(result: TuningResult) -> Markup:
    trials = result.trials
    words = (
        ("completed", "completed"),
        ("early_stopped", "early-stopped"),
        ("failed", "failed"),
        ("stopped", "cut off"),
        ("running", "running"),
    )
    counts = ((sum(trial.status == status for trial in trials), word) for status, word in words)
    detail = ", ".join(f"{number} {word}" for number, word in counts if number)
    epochs = sum(len(trial.history) for trial in trials)
    training = sum(trial.seconds for trial in trials)
    first = _seconds_to_best(result)
    tiles = [
        tile(str(len(trials)), "trials" if len(trials) != 1 else "trial", detail),
        tile(duration(result.seconds), "search", result.stop_reason),
        tile(duration(training), "of training", f"{count(epochs, 'epoch')} in all trials together"),
    ]
    if first is not None:
        tiles.append(tile(duration(first), "until the best trial ended"))
    return card("What it cost", element("div", *tiles, class_="tiles"))


def _seconds_to_best(result: TuningResult) -> float | None:
    best = result.best_trial
    return max(0.0, best.finished_at - result.started_at) if best and best.finished_at else None


def _quality_tiles(evaluation: Evaluation) -> Markup:
    tiles = [tile(percent(evaluation["macro_f1"]), "F1, mean over classes")]
    if evaluation["top_k"]:
        tiles.append(tile(percent(evaluation["top_k_accuracy"]), f"top-{evaluation['top_k']} accuracy"))
    if evaluation["multi_label"]:
        tiles.append(tile(percent(evaluation["exact_match"]), "exact match", "images with every class right"))
    if evaluation["roc"]["area"] is not None:
        tiles.append(tile(f"{evaluation['roc']['area']:.4f}", "area under ROC", evaluation["roc"]["kind"]))
    speed = evaluation["throughput"]
    tiles += [
        tile(f"{evaluation['log_loss']:.3f}", "log loss", "nats; 0 is perfect"),
        tile(percent(evaluation["expected_calibration_error"]), "calibration error", "0 % is perfect"),
        tile(f"{speed['images_per_second']:,.0f}", "images a second", f"decode and predict, {speed['device']}"),
    ]
    return card("How good it is", element("div", *tiles, class_="tiles"))
