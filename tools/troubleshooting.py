"""``docs/troubleshooting.md``, made from the error classes: code, meaning, way out.

``python -m tools.troubleshooting`` writes it.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from inspect import getdoc
from pathlib import Path

import kfp_image_tuning
from kfp_image_tuning.core.errors import ImageTuningError

PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
FOREIGN = {
    "delivery": (
        "The code or the packages of a step could not be put into its pod.",
        "Install the ConfigMap that the message names, or give pods a package index that they reach.",
    ),
    "unexpected": (
        "A defect of kfp-image-tuning; a traceback is above it.",
        "Report it with the traceback and the command.",
    ),
}
"""What is told without an error class: before our code is there, and what nobody foresaw."""

_START = """\
# Troubleshooting

<!-- Made from the error classes by `make generate`. -->

Every error ends with one message: `Error [code]: what was wrong, where, and the way out`. In a pipeline it stands in a
frame at the end of the step's log ([where to look](kubeflow.md#when-a-step-fails)). The message is more precise than
this table; the code stays the same when its words change, so search logs for it. The command line ends with 2 where the
command is wrong, and with 1 otherwise; in a pod exit codes mean nothing.

| code | means | what helps |
| --- | --- | --- |
"""


def error_classes() -> list[type[ImageTuningError]]:
    """All error classes of the package, by code."""
    for module in pkgutil.walk_packages(kfp_image_tuning.__path__, "kfp_image_tuning."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = [kind for kind in _below(ImageTuningError) if kind.__module__.startswith("kfp_image_tuning.")]
    return sorted(set(ours), key=lambda kind: kind.code)


def meaning_of(kind: type[ImageTuningError]) -> str:
    """The first sentence of a class's docstring."""
    return " ".join((getdoc(kind) or "").split("\n\n")[0].split())


def page_text() -> str:
    """The page."""
    rows = {kind.code: (meaning_of(kind), kind.way_out) for kind in error_classes()} | FOREIGN
    return _START + "".join(
        f"| `{code}` | {meaning} | {way_out} |\n" for code, (meaning, way_out) in sorted(rows.items())
    )


def _below(kind: type[ImageTuningError]) -> Iterator[type[ImageTuningError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)


if __name__ == "__main__":
    PAGE.write_text(page_text(), encoding="utf-8")
