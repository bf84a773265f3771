"""The model: what it confuses, how far its confidence can be trusted, and where it is most confidently wrong."""

from collections.abc import Mapping
from typing import Any

from kfp_image_tuning.core.wording import count
from kfp_image_tuning.report.blocks import card, columns, facts, folded, note, section, short_code
from kfp_image_tuning.report.charts_quality import (
    FULL_MATRIX,
    class_table,
    confusion_matrix,
    largest_confusions,
    mistake_gallery,
    reliability_diagram,
)
from kfp_image_tuning.report.markup import Content, Markup, element, join
from kfp_image_tuning.report.plot import legend
from kfp_image_tuning.report.wording import percent

Evaluation = Mapping[str, Any]

NARROW_MATRIX = 10
"""Up to so many classes, a matrix takes half of the page's width."""


def quality_section(evaluation: Evaluation) -> Markup:
    """Everything that the evaluation tells."""
    split = evaluation["split"]
    return section(
        "quality",
        f"Model on {split} images",
        _confusion(evaluation),
        _mistakes(evaluation),
        columns(card("Calibration", *_calibration(evaluation)), card("Scores of every class", class_table(evaluation))),
        _details(evaluation),
    )


def _confusion(evaluation: Evaluation) -> Markup | None:
    if evaluation["confusion"] is None:
        return None
    largest = largest_confusions(evaluation)
    count_of_classes = len(evaluation["classes"])
    listed = largest or note("There is no mistake.")
    if count_of_classes > FULL_MATRIX:
        remark = note(f"A matrix of {count_of_classes} classes cannot be read: these are the largest confusions.")
        return card("Confusion", remark, listed)
    cards = card("Confusion", confusion_matrix(evaluation)), card("Largest confusions", listed)
    return columns(*cards) if count_of_classes <= NARROW_MATRIX else join(cards)


def _mistakes(evaluation: Evaluation) -> Markup:
    gallery = mistake_gallery(evaluation)
    wrong = evaluation["images"] - round(evaluation["exact_match"] * evaluation["images"])
    text = (
        f"{count(wrong, 'image')} of {evaluation['images']:,} are classified wrong; these are the ones that the model "
        "is most sure of. Its answer, and how sure it was, is in red. Some may be labelled wrong: look at them first."
    )
    return card("Most confidently wrong", note(text if gallery else "There is no mistake to show."), gallery)


def _calibration(evaluation: Evaluation) -> tuple[Content, ...]:
    error = percent(evaluation["expected_calibration_error"])
    meaning = (
        "A class is said with a probability; the bars show how often it is then there."
        if evaluation["multi_label"]
        else "When the model says 90 %, is it right nine times out of ten? On the diagonal it is."
    )
    return (
        note(f"{meaning} Expected calibration error {error}; the fainter a bar, the fewer answers."),
        reliability_diagram(evaluation),
        legend([("key-column", "fraction that is right"), ("line confidence", "how sure it was")]),
    )


def _details(evaluation: Evaluation) -> Markup:
    model = evaluation["model"]
    pairs: list[tuple[str, Content]] = [
        ("Network", f"ResNet-{model['num_layers']}, images of {' x '.join(map(str, model['image_shape']))}"),
        ("Weights", f"epoch {model['epoch'] + 1}, validation accuracy {percent(model['validation_accuracy'])}"),
        ("Checksum", short_code(f"sha256:{model['weights_sha256']}")),
        ("Interval", evaluation["accuracy_interval"]["method"]),
        ("Test images", short_code(evaluation["split_fingerprint"])),
    ]
    skipped = [
        element("li", f"image {item['identifier']} in {item['record']}: {item['reason']}")
        for item in evaluation["skipped"][:100]
    ]
    return card(
        None,
        folded("Which model was measured", facts(pairs)),
        folded(f"{count(len(evaluation['skipped']), 'image')} could not be read", element("ul", *skipped))
        if skipped
        else None,
    )
