"""Numbers as people read them, and marks that cannot break the page."""

import pytest

from kfp_image_tuning.report.markup import Markup, element, short
from kfp_image_tuning.report.plot import accuracy_axis, count_axis, linear_axis
from kfp_image_tuning.report.wording import moment, percent, points, size, value


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.9731, 1, "97.3 %"),
        (1.0, 1, "100.0 %"),
        (0.99999, 1, "99.9 %"),
        (0.99999, 2, "99.99 %"),
        (0.0, 1, "0.0 %"),
        (0.0001, 1, "< 0.1 %"),
        (0.003, 0, "< 1 %"),
        (0.5, 0, "50 %"),
    ],
)
def test_percent_never_rounds_to_all_or_nothing(share: float, digits: int, text: str) -> None:
    assert percent(share, digits) == text


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (0.05, "0.05"),
        (0.000123456, "1.23e-4"),
        (1e-08, "1e-8"),
        (0.99951, "0.99951"),
        (0.9, "0.9"),
        (0.999, "0.999"),
        (1.0, "1"),
        (0.0, "0"),
        (32, "32"),
        (True, "True"),
        ("sgd", "sgd"),
        ([3, 28, 28], "3, 28, 28"),
        (float("inf"), "inf"),
        (0.9999999999, "1"),
    ],
)
def test_values_keep_what_matters(item: object, text: str) -> None:
    assert value(item) == text


def test_other_wordings() -> None:
    assert [points(share) for share in (0.012, -0.0061, 0.0)] == ["+1.2", "\N{MINUS SIGN}0.6", "±0.0"]
    assert [size(number) for number in (12, 4_200, 3_700_000, 2_000_000_000)] == [
        "12 bytes",
        "4.2 kB",
        "3.7 MB",
        "2.0 GB",
    ]
    assert moment(0) == "1 Jan 1970, 00:00 UTC"


def test_text_is_escaped_and_markup_is_not() -> None:
    made = element("p", "<b>", Markup("<i>x</i>"), [None, "&"], class_='a"b', data_trial="1", hidden=True, width=1.50)
    assert made == '<p class="a&quot;b" data-trial="1" hidden width="1.5">&lt;b&gt;<i>x</i>&amp;</p>'
    assert [short(number) for number in (-0.001, 3.0, 2.346)] == ["0", "3", "2.35"]


@pytest.mark.parametrize(
    "values", [[], [0.1], [0.97], [1.0], [0.1, 0.5], [0.1, 0.985, 0.99], [0.9999, 1.0], [1.0, 1.0]]
)
def test_accuracy_axis_holds_its_values_in_order(values: list[float]) -> None:
    axis = accuracy_axis(values)
    places = [axis.place(share) for share in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 1 for place in places)
    assert all(0 <= axis.place(tick) <= 1 for tick, _ in axis.ticks)
    assert len(axis.ticks) >= 1


def test_axes_have_round_ticks() -> None:
    assert [label for _, label in linear_axis(0, 1, lambda v: f"{v:g}", 5).ticks] == [
        "0",
        "0.2",
        "0.4",
        "0.6",
        "0.8",
        "1",
    ]
    assert [value for value, _ in count_axis(1, 3).ticks] == [1, 2, 3]
    assert len(count_axis(1, 200).ticks) <= 9
