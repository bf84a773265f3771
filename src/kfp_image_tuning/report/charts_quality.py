"""Charts of an evaluation: confusion matrix, reliability diagram, the most confidently wrong images."""

import re
from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.core.wording import count
from kfp_image_tuning.report.blocks import bar, head, number_cell, scrolling
from kfp_image_tuning.report.markup import Content, Markup, element
from kfp_image_tuning.report.plot import Frame, linear_axis, path
from kfp_image_tuning.report.wording import percent

FULL_MATRIX = 30
"""More classes than this and a matrix can no longer be read: the largest confusions are listed instead."""
LARGEST_CONFUSIONS = 25
FEW_CONFUSIONS = 10
NOTHING = "\N{EN DASH}"
THUMBNAIL_BYTES = 400_000
"""All thumbnails together; what comes after is left out, so that the page stays small."""

_DATA_URI = re.compile(r"data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]+=*\Z")

Evaluation = Mapping[str, Any]
"""``evaluation.json``."""


def confusion_matrix(evaluation: Evaluation) -> Markup:
    """Every class against every class, shaded by fraction of the true class."""
    confusion, classes = evaluation["confusion"], evaluation["classes"]
    columns_head = element(
        "tr",
        element("th", "true ↓ predicted →", scope="col", class_="corner"),
        *(element("th", element("span", name), scope="col", class_="slanted") for name in classes),
        element("th", "right", scope="col", class_="number"),
    )
    rows = []
    for true in classes:
        row = confusion.get(true, {})
        total = sum(row.values())
        cells = [_matrix_cell(row.get(predicted, 0), total, true, predicted) for predicted in classes]
        right = element("td", percent(row.get(true, 0) / total) if total else NOTHING, class_="number")
        rows.append(element("tr", element("th", true, scope="row"), *cells, right))
    caption = element("caption", "Rows are the true classes, columns what the model said.", class_="unseen")
    table = element("table", caption, element("thead", columns_head), element("tbody", *rows), class_="matrix")
    return scrolling(table, "Confusion matrix")


def _matrix_cell(number: int, total: int, true: str, predicted: str) -> Markup:
    if not number:
        return element("td", element("span", "0", class_="unseen"), class_="right" if true == predicted else None)
    share = number / total
    # The square root lets single mistakes be seen beside hundreds of right answers.
    return element(
        "td",
        f"{number:,}",
        class_="right" if true == predicted else "wrong",
        style=f"--shade:{round(10 + 32 * share**0.5)}%",
        title=f"{count(number, 'image')} of {true} taken for {predicted} ({percent(share)} of {true})",
    )


def largest_confusions(evaluation: Evaluation) -> Markup | None:
    """The pairs of classes that are taken for each other most; None if there is no mistake."""
    pairs = [
        (number, number / sum(row.values()), true, predicted)
        for true, row in evaluation["confusion"].items()
        for predicted, number in row.items()
        if true != predicted
    ]
    if not pairs:
        return None
    pairs.sort(key=lambda pair: (-pair[0], -pair[1], pair[2], pair[3]))
    largest, few = pairs[0][0], len(evaluation["classes"]) <= FULL_MATRIX
    rows = (
        element(
            "tr",
            element("th", true, scope="row"),
            element("td", predicted),
            element("td", f"{number:,}", class_="number"),
            element("td", bar(number / largest, "bad"), class_="bar-cell optional"),
            element("td", percent(share), class_="number"),
        )
        for number, share, true, predicted in pairs[: FEW_CONFUSIONS if few else LARGEST_CONFUSIONS]
    )
    columns_head = element(
        "tr",
        head("True class"),
        head("Taken for"),
        head("Images", number=True),
        element("td", class_="optional"),
        head("Of the class", number=True),
    )
    return scrolling(
        element("table", element("thead", columns_head), element("tbody", *rows), class_="bars"), "Largest confusions"
    )


def class_table(evaluation: Evaluation) -> Markup:
    """Scores of every class, sortable."""
    columns = ("Class", "Images", "Precision", "Recall", "F1", "AP")
    rows = (
        element(
            "tr",
            element("th", entry["name"], scope="row"),
            number_cell(entry["support"], f"{entry['support']:,}"),
            number_cell(entry["precision"], percent(entry["precision"])),
            number_cell(entry["recall"], percent(entry["recall"])),
            element(
                "td",
                bar(entry["f1"], "good" if entry["f1"] >= evaluation["macro_f1"] - 0.1 else "bad"),
                element("span", percent(entry["f1"]), class_="amount"),
                class_="number with-bar",
                data_sort=f"{entry['f1']:.6f}",
            ),
            number_cell(
                entry["average_precision"],
                NOTHING if entry["average_precision"] is None else percent(entry["average_precision"]),
            ),
        )
        for entry in evaluation["per_class"]
    )
    mean = element(
        "tr",
        element("th", "Mean", scope="row"),
        element("td", f"{evaluation['images']:,}", class_="number"),
        *(
            element("td", percent(evaluation[name]), class_="number")
            for name in ("macro_precision", "macro_recall", "macro_f1", "mean_average_precision")
        ),
    )
    columns_head = element("tr", *(head(text, number=text != "Class") for text in columns))
    parts = element("thead", columns_head), element("tbody", *rows), element("tfoot", mean)
    return scrolling(
        element("table", *parts, class_="sortable"),
        "Scores of every class",
        tall=len(evaluation["per_class"]) > FULL_MATRIX,
    )


def reliability_diagram(evaluation: Evaluation) -> Markup:
    """Accuracy over confidence: on the diagonal, a model is as often right as it says."""
    frame = Frame(width=420, height=360, left=72, right=14, top=12, bottom=50)
    axis = linear_axis(0.0, 1.0, lambda share: f"{share * 100:g} %", 5)
    bins = [entry for entry in evaluation["calibration"] if entry["answers"]]
    answers = sum(entry["answers"] for entry in bins)
    marks: list[Content] = [path(((frame.x(0), frame.y(0)), (frame.x(1), frame.y(1))), class_="diagonal")]
    for entry in bins:
        left, right = frame.x(entry["low"]) + 1, frame.x(entry["high"]) - 1
        top, ideal = frame.y(entry["accuracy"]), frame.y(entry["confidence"])
        text = (
            f"{count(entry['answers'], 'answer')} at {percent(entry['confidence'])} confidence: "
            f"{percent(entry['accuracy'])} right"
        )
        weight = 0.3 + 0.7 * (entry["answers"] / answers) ** 0.5
        column = element(
            "rect", class_="column", x=left, y=top, width=right - left, height=frame.y(0) - top, opacity=weight
        )
        sure = element("line", class_="confidence", x1=left + 2, x2=right - 2, y1=ideal, y2=ideal)
        marks.append(element("g", element("title", text), column, sure))
    return frame.draw(
        axis,
        axis,
        ("confidence", "fraction that is right"),
        "Reliability diagram",
        f"Accuracy by confidence; expected calibration error {percent(evaluation['expected_calibration_error'])}.",
        marks,
    )


def mistake_gallery(evaluation: Evaluation) -> Markup | None:
    """Thumbnails of the most confidently wrong images; None if there is none."""
    figures, used = [], 0
    for mistake in evaluation["mistakes"]:
        used += len(mistake["thumbnail"])
        if used > THUMBNAIL_BYTES:
            break
        figures.append(_figure(mistake))
    return element("div", *figures, class_="gallery") if figures else None


def _figure(mistake: Mapping[str, Any]) -> Markup:
    true, predicted = " + ".join(mistake["true"]) or "none", " + ".join(mistake["predicted"]) or "none"
    name = mistake["path"] or f"image {mistake['identifier']}"
    image = (
        element("img", src=mistake["thumbnail"], alt=f"{name}, which is {true}")
        if _DATA_URI.match(mistake["thumbnail"])
        else element("span", "no preview", class_="no-preview")
    )
    place = f"{name} (image {mistake['identifier']}, {mistake['record']} at byte {mistake['offset']:,})"
    return element(
        "figure",
        element("div", image, class_="frame"),
        element(
            "figcaption",
            element(
                "span",
                element("b", predicted, class_="bad", title=predicted),
                element("i", percent(mistake["confidence"])),
            ),
            element("span", "is ", element("b", true), title=true),
            element("small", name, title=place),
        ),
    )
