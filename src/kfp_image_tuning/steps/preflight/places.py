"""Checks of texts in the run form, and of those that are places: paths, addresses, folders on volume claims."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kfp_image_tuning.core.errors import StoreError
from kfp_image_tuning.core.volume_claims import is_on_claim, mounted_path
from kfp_image_tuning.options.pipelines import checked_options

PLACES = tuple(option.parameter for option in checked_options() if option.is_place)
"""Parameters that may be a path as well as an address."""
RUN_MARK = "{run}"
"""Stands for the run's identity in a work directory."""
WORK_DIRECTORIES = ("data_work_directory", "tune_work_directory")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        parameter: Name in the run form.
        sentence: The value, the rule and the way out.
    """

    parameter: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.parameter}: {self.sentence}"


def find_text_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with a text whatever it means."""
    if not values.get("data_images", "").strip():
        yield Problem(
            "data_images", "is empty; give the folder, file or address of the images (is a variable not set?)"
        )
    for name, value in values.items():
        if not isinstance(value, str) or not value:
            continue
        if not value.strip():
            yield Problem(name, "holds nothing but blanks; give a value, or leave it empty")
        elif value != value.strip():
            yield Problem(name, f"{value!r} has blanks around it; remove them")
        elif macro := re.search(r"\[\[\w+(\.[^\]]*)?\]\]", value):
            way_out = f"write {RUN_MARK} for the run's identity" if name in WORK_DIRECTORIES else "give a fixed value"
            yield Problem(
                name,
                f"{value!r} still holds {macro[0]}, which KFP does not replace in a recurring run of a fixed version; "
                f"{way_out}",
            )
        elif re.search(r"\$\{\w+\}|\$[A-Z_]{2,}", value):
            yield Problem(name, f"{value!r} holds a shell variable, which nothing replaces here; write its value")
        elif value[0] == value[-1] and value[0] in "'\"":
            yield Problem(name, f"{value} is in quotes; remove them")


def find_place_problems(engine: str, values: Mapping[str, Any], *, in_pod: bool) -> Iterator[Problem]:
    """What is wrong with paths and addresses.

    Args:
        engine: Whose pipeline.
        values: Parameters by the run form's names.
        in_pod: As for `parameters.find_problems`.
    """
    for name in (*PLACES, *WORK_DIRECTORIES):
        place = str(values.get(name, ""))
        if not place or place != place.strip() or "[[" in place:
            continue
        if is_on_claim(place) and name in PLACES:
            yield from _claim_problems(name, place, in_pod)
        elif "://" in place and name in PLACES:
            scheme, _, rest = place.partition("://")
            host = rest.partition("/")[0]
            if not host or re.search(r"\s", place if scheme.startswith("http") else host):
                yield Problem(name, f"{scheme}://{host.rpartition('@')[2]} is not an address; check it for blanks")
        elif in_pod and not place.startswith("/"):
            yield Problem(name, f"{place!r} is not an absolute path, and a pod knows no other; begin it with /")
        elif name == "tune_initial_model" and engine != "local":
            continue  # A place that trials see, in other pods or on other machines.
        elif not in_pod and name in PLACES and not Path(place).expanduser().exists():
            yield Problem(name, f"{place}: there is no such file or folder; check the path")


def _claim_problems(name: str, place: str, in_pod: bool) -> Iterator[Problem]:
    """What is wrong with a place on a volume claim."""
    if in_pod and name != "data_images":
        return  # Other steps may mount more; the pipeline tells this one what the preparation of images mounts.
    try:
        path = Path(mounted_path(place))
    except StoreError as error:
        yield Problem(name, error.problems[0].removeprefix(f"{place}: "))
        return
    # The claim itself need not be mounted here.
    if any(map(os.path.ismount, path.parents[:-1])) and not path.exists():
        yield Problem(name, f"{place}: there is no such file or folder on the claim; check the path")
