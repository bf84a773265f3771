"""The page as a browser gets it: whole, alone, safe, and the same each time."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kfp_image_tuning.core.errors import DocumentError
from kfp_image_tuning.dataset.document import Dataset, LabelConflict, SkippedImage, Source
from kfp_image_tuning.evaluation.gate import judge
from kfp_image_tuning.report.page import render_report, write_report
from kfp_image_tuning.search.result import Trial, TrialStatus, TuningResult
from tests.report.documents import make_dataset, make_evaluation, make_result, make_trials

DIGITS = tuple(f"digit {number}" for number in range(10))
MIXED: tuple[TrialStatus, ...] = ("completed", "early_stopped", "completed", "failed", "completed", "stopped")
VOID = {"meta", "link", "br", "hr", "img", "input"}
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;\u202e"


class Page(HTMLParser):
    """Elements with their attributes, and the text of the page; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, class_: str = "") -> list[dict[str, str | None]]:
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and (not class_ or class_ in (attributes.get("class") or "").split())
        ]


def read(**documents: Any) -> Page:
    return Page(render_report(**{"result": None, "dataset": None, "evaluation": None, **documents}))


def full(**changes: Any) -> dict[str, Any]:
    evaluation = make_evaluation(DIGITS, skill=7)
    judged = replace(evaluation, verdict=judge(evaluation, min_accuracy=0.9))
    documents = {
        "result": make_result(make_trials(24, statuses=MIXED)),
        "dataset": make_dataset(DIGITS),
        "evaluation": judged.to_dict(),
    }
    return {**documents, **changes}


def test_result_stands_on_top() -> None:
    documents = full()
    text = read(**documents).text
    accuracy = f"{documents['evaluation']['accuracy'] * 100:.1f} %"
    assert text.index(f"{accuracy} accuracy on test images") < text.index("Best hyperparameters")
    assert "With 95 % confidence the true accuracy is between" in text
    for part in ("Go ", "What it cost", "History", "What mattered", "All trials at once", "Learning curves"):
        assert part in text
    for part in ("Confusion", "Most confidently wrong", "Calibration"):
        assert part in text
    assert "kfp-image-tuning run --data photos" in text


def test_parts_come_in_the_order_in_which_they_are_asked_for() -> None:
    sections = [section["id"] for section in read(**full()).all("section")]
    assert sections == ["result", "search", "quality", "data", "reproduce", "trials"]


def test_page_stands_alone() -> None:
    text = render_report(**full())
    page = Page(text)
    for tag, attributes in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:image/")), (tag, target)
    assert not page.all("link")
    assert "@import" not in text
    assert "url(" not in text
    assert not re.search(r"https?://", text)
    for storage in ("localStorage", "sessionStorage", "document.cookie", "fetch(", "XMLHttpRequest"):
        assert storage not in text
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "script-src 'sha256-" in policy


def test_links_lead_to_parts_of_the_page() -> None:
    page = read(**full())
    places = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = [attributes["href"] for attributes in page.all("a")]
    assert len(links) == 6
    assert all(link is not None and link.removeprefix("#") in places for link in links)
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_page_can_be_read_by_everybody() -> None:
    page = read(**full())
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert all(image.get("alt") for image in page.all("img"))
    charts = page.all("svg", "chart")
    assert len(charts) > 10
    assert all(chart.get("role") == "img" for chart in charts)
    assert len(page.all("title")) > len(charts)
    assert all(heading.get("scope") in ("col", "row") for heading in page.all("th"))
    assert all(region.get("aria-label") for region in page.all("div", "wide"))


def hostile_documents() -> dict[str, Any]:
    classes = (HOSTILE, "</style><b>", "dog & cat", "{{7*7}}")
    trials = [
        *make_trials(12),
        Trial(name=HOSTILE, status="failed", hyperparameters={}, failure_reason=HOSTILE, note=HOSTILE),
    ]
    evaluation = make_evaluation(classes, skill=4, images=300).to_dict()
    evaluation["mistakes"] = [
        {**item, "path": HOSTILE, "thumbnail": f"data:image/png;base64,AAAA{HOSTILE}"}
        for item in evaluation["mistakes"]
    ]
    evaluation["skipped"] = [{"identifier": 1, "record": HOSTILE, "reason": HOSTILE}]
    evaluation["verdict"] = {
        "passed": False,
        "checks": [
            {
                "name": "min_accuracy",
                "passed": False,
                "reason": HOSTILE,
                "test": None,
                "p_value": None,
                "difference": 0.1,
            }
        ],
    }
    dataset = make_dataset(
        classes,
        source=Source(f"/home/{HOSTILE}", "folder", "sha256:1"),
        skipped=(SkippedImage(HOSTILE, HOSTILE),),
        label_conflicts=(LabelConflict((HOSTILE, HOSTILE), ((HOSTILE,), ("dog & cat",))),),
    )
    result = make_result(trials, stop_reason=HOSTILE, reproduction_command=HOSTILE, engine=HOSTILE)
    return {"result": result, "dataset": dataset, "evaluation": evaluation}


def test_nothing_from_data_becomes_markup() -> None:
    text = render_report(**hostile_documents())
    page = Page(text)
    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    assert not page.all("img")
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert "<script>alert" not in text
    assert "alert('x')" in page.text
    assert "{{7*7}}" in page.text
    assert "dog & cat" in page.text
    assert "no preview" in page.text


def test_page_never_grows_out_of_hand() -> None:
    classes = [f"class number {number}" for number in range(100)]
    evaluation = make_evaluation(classes, images=5000, skill=7, size=112).to_dict()
    result = make_result(make_trials(200, statuses=MIXED, epochs=20))
    dataset = make_dataset(classes, skipped=tuple(SkippedImage(f"{n}.jpg", "is damaged") for n in range(5000)))
    text = render_report(result=result, dataset=dataset, evaluation=evaluation)
    assert len(text) < 1_000_000
    page = Page(text)
    assert "A matrix of 100 classes cannot be read: these are the largest confusions." in page.text
    assert "and 4,900 more, in dataset.json" in page.text
    assert not page.all("table", "matrix")
    heavy = {
        **evaluation,
        "mistakes": [{**m, "thumbnail": m["thumbnail"] + "A" * 90_000} for m in evaluation["mistakes"]],
    }
    assert len(render_report(result=None, dataset=None, evaluation=heavy)) < 600_000


def test_same_documents_give_the_same_bytes(tmp_path: Path) -> None:
    documents = full()
    write_report(tmp_path / "new folder" / "report.html", **documents)
    first = (tmp_path / "new folder" / "report.html").read_bytes()
    # As another process reads them, with another hash seed.
    documents["result"].save(tmp_path / "result.json")
    (tmp_path / "evaluation.json").write_text(json.dumps(documents["evaluation"]))
    documents["dataset"].save(tmp_path)
    program = (
        "import json, sys, pathlib; from kfp_image_tuning.report.page import write_report; "
        "from kfp_image_tuning.search.result import TuningResult; "
        "from kfp_image_tuning.dataset.document import Dataset; "
        "d = pathlib.Path(sys.argv[1]); write_report(d / 'again.html', result=TuningResult.load(d / 'result.json'), "
        "dataset=Dataset.load(d), evaluation=json.loads((d / 'evaluation.json').read_text()))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env={"PYTHONHASHSEED": "7"})
    assert (tmp_path / "again.html").read_bytes() == first


@pytest.mark.parametrize("result", [None, make_result(make_trials(12))], ids=["no result", "result"])
@pytest.mark.parametrize("dataset", [None, make_dataset(DIGITS)], ids=["no data set", "data set"])
@pytest.mark.parametrize("evaluation", [None, make_evaluation(DIGITS).to_dict()], ids=["no evaluation", "evaluation"])
def test_any_part_may_be_missing(
    result: TuningResult | None, dataset: Dataset | None, evaluation: Mapping[str, Any] | None
) -> None:
    page = read(result=result, dataset=dataset, evaluation=evaluation)
    links = {attributes["href"] for attributes in page.all("a")}
    assert ("#search" in links) == (result is not None)
    assert ("#data" in links) == (dataset is not None)
    assert ("#quality" in links) == (evaluation is not None)
    absent = result is None or dataset is None or evaluation is None
    assert ("Not part of this page, since it was not there" in page.text) == absent
    if result is not None and evaluation is None:
        assert "accuracy on validation images" in page.text
        assert "so it flatters" in page.text


@pytest.mark.parametrize(
    ("name", "trials", "said"),
    [
        ("none", (), "The search found no model"),
        ("one", make_trials(1), "it takes 10 or more that differ"),
        ("all failed", make_trials(5, statuses=("failed",)), "the worker ended with signal 9"),
        ("one of many", make_trials(6, statuses=("failed", "failed", "completed")), "4 failed"),
        ("running", make_trials(3, statuses=("running",)), "3 running"),
        ("no history", make_trials(12, epochs=0, statuses=("failed",)), "12 failed"),
        ("all the same", make_trials(15, lambda u, o, r: 0.5), "it takes 10 or more that differ"),
        ("perfect", make_trials(15, lambda u, o, r: 1.0), "100.0 % accuracy on validation images"),
        ("all wrong", make_trials(15, lambda u, o, r: 0.0, epochs=1), "0.0 % accuracy on validation images"),
        ("one epoch", make_trials(15, epochs=1), "Learning curves"),
    ],
)
def test_odd_searches(name: str, trials: tuple[Trial, ...], said: str) -> None:
    page = read(result=make_result(trials, reproduction_command=""))
    assert said in page.text
    assert "reproduce" not in {section["id"] for section in page.all("section")}
    assert not [value for _, attributes in page.elements for value in attributes.values() if value and "nan" in value]


def test_no_go_is_said_with_its_reasons() -> None:
    evaluation = make_evaluation(DIGITS, skill=3)
    judged = replace(evaluation, verdict=judge(evaluation, min_accuracy=0.99))
    page = read(evaluation=judged.to_dict())
    assert len(page.all("div", "no-go")) == 1
    assert judged.verdict is not None
    assert judged.verdict.reasons[0] in page.text


def test_the_evaluations_command_is_shown_before_the_searchs() -> None:
    evaluation = {**make_evaluation(DIGITS).to_dict(), "reproduction_command": "prepare &&\nrun --min-accuracy 0.9"}
    text = render_report(**full(evaluation=evaluation))
    assert "<pre><code>prepare &amp;&amp;\nrun --min-accuracy 0.9</code></pre>" in text


def test_evaluation_of_an_unknown_version_is_refused() -> None:
    with pytest.raises(DocumentError, match="schema_version is 2, this release reads 1"):
        render_report(result=None, dataset=None, evaluation={"schema_version": 2})
