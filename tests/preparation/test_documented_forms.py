"""The table of forms in docs/data.md: every row names a test that reads such a source."""

import re
from pathlib import Path

from tests.preparation import test_cases, test_layouts, test_prepared_source, test_sources

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


def test_every_form_is_executed_by_a_test() -> None:
    known = {
        *test_cases.EXPECTED,
        *test_layouts.FOLDERS,
        *test_layouts.TABLES,
        *test_sources.LAYOUTS,
        *test_sources.CSVS,
    }
    known |= {name for module in (test_layouts, test_prepared_source, test_sources) for name in vars(module)}
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| .* \| .* \| (.*) \|$", page[page.index("## Forms") : page.index("## Saying it")], re.MULTILINE
    )[2:]
    named = [re.findall("`([^`]+)`", row) for row in rows]
    assert len(rows) > 20
    assert [row for row, names in zip(rows, named, strict=True) if not names or not known.issuperset(names)] == []
