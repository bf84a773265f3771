"""One self-contained HTML page of a search, its data set and the evaluation of its model.

The page needs nothing from anywhere: style, script and pictures stand in it, and a content security policy in its head
forbids everything else. The same documents give the same bytes.
"""

import base64
import hashlib
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.durable_file import write_durably
from kfp_image_tuning.core.errors import DocumentError
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.report.blocks import card, note, section
from kfp_image_tuning.report.markup import Content, Markup, element, join
from kfp_image_tuning.report.section_data import data_section
from kfp_image_tuning.report.section_quality import quality_section
from kfp_image_tuning.report.section_result import headline, page_header, result_section
from kfp_image_tuning.report.section_search import search_section, trials_section
from kfp_image_tuning.search.result import TuningResult

EVALUATION_VERSION = 1
SECTIONS = (
    ("result", "Result"),
    ("search", "Search"),
    ("quality", "Model"),
    ("data", "Data"),
    ("reproduce", "Reproduce"),
    ("trials", "Trials"),
)


def render_report(*, result: TuningResult | None, dataset: Dataset | None, evaluation: Mapping[str, Any] | None) -> str:
    """Make the page; what is missing is left out, and said.

    Args:
        result: The search.
        dataset: The data set.
        evaluation: The document ``evaluation.json``.

    Raises:
        DocumentError: If the evaluation is of a version that this release does not know.
    """
    if evaluation is not None and evaluation.get("schema_version") != EVALUATION_VERSION:
        raise DocumentError(
            f"evaluation document: schema_version is {evaluation.get('schema_version')!r}, this release reads "
            f"{EVALUATION_VERSION}; use the release that wrote it, or evaluate the model again"
        )
    # The evaluation knows more of it: what the model had to reach.
    command = (evaluation or {}).get("reproduction_command") or (result.reproduction_command if result else "")
    body = {
        "result": result_section(result, dataset, evaluation),
        "search": search_section(result) if result else None,
        "quality": quality_section(evaluation) if evaluation else None,
        "data": data_section(dataset) if dataset else None,
        "reproduce": _reproduction(command) if command else None,
        "trials": trials_section(result) if result else None,
    }
    links = (element("a", words, href=f"#{name}") for name, words in SECTIONS if body[name])
    missing = [
        words
        for words, document in (("the search", result), ("the data set", dataset), ("the evaluation", evaluation))
        if document is None
    ]
    main = (
        page_header(result, dataset, evaluation),
        element("nav", *links, aria_label="Parts of this page"),
        element("main", *body.values()),
        element(
            "footer",
            element("p", f"Not part of this page, since it was not there: {', '.join(missing)}.") if missing else None,
            element("p", "Made by kfp-image-tuning. This page stands alone: it loads nothing and sends nothing."),
        ),
    )
    return _document(headline(result, evaluation), main)


def write_report(
    path: str | os.PathLike[str],
    *,
    result: TuningResult | None = None,
    dataset: Dataset | None = None,
    evaluation: Mapping[str, Any] | None = None,
) -> None:
    """Write the page to a file, whole or not at all.

    Args:
        path: The HTML file; its folder is made if need be.
        result: The search.
        dataset: The data set.
        evaluation: The document ``evaluation.json``.

    Raises:
        DocumentError: If the evaluation is of a version that this release does not know.
    """
    page = render_report(result=result, dataset=dataset, evaluation=evaluation)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    # Names that are no UTF-8 reach here as lone surrogates.
    write_durably(Path(path), page.encode("utf-8", "replace"))


def _reproduction(command: str) -> Markup:
    return section(
        "reproduce",
        "Reproduce",
        card(None, element("pre", element("code", command)), note("Select and copy.")),
    )


def _document(title: str, content: Content) -> str:
    style = Markup(resources.files(__package__).joinpath("page.css").read_text("utf-8"))
    script = Markup(resources.files(__package__).joinpath("page.js").read_text("utf-8"))
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{checksum}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", style),
    )
    page = element("html", head, element("body", content, element("script", script)), lang="en")
    return join((Markup("<!DOCTYPE html>\n"), page, Markup("\n")))
