"""The page of errors is made from their classes, each of which says what it means and what helps."""

import pytest

from kfp_image_tuning.core.errors import ImageTuningError
from tools.troubleshooting import PAGE, error_classes, meaning_of, page_text

CLASSES = error_classes()


def test_page_is_made_from_the_classes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_text(), "run `make generate`"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_code_a_meaning_and_a_way_out_of_its_own(kind: type[ImageTuningError]) -> None:
    assert [other.code for other in CLASSES].count(kind.code) == 1
    assert "code" in vars(kind)
    assert len(meaning_of(kind)) > 20
    assert kind.way_out != ImageTuningError.way_out
