"""Places that are named by their volume claim, as paths."""

import json
from pathlib import Path

import pytest

from kfp_image_tuning.core.errors import StoreError
from kfp_image_tuning.core.volume_claims import CLAIMS_VARIABLE, find_mounted, mounted_path

CLAIMS = {CLAIMS_VARIABLE: json.dumps({"pvc://team": "/all", "pvc://team/work/a": "/mnt/a", "pvc://other/x": "/x"})}


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("pvc://team/images", "/all/images"),
        ("pvc://team/", "/all"),
        ("pvc://team/work/a/images/b.zip", "/mnt/a/images/b.zip"),
        ("pvc://team/work/ab", "/all/work/ab"),
        ("pvc://other/x", "/x"),
        ("pvc://other/y", None),
        ("pvc://others/x", None),
        ("pvc://team/work/../../x", None),
    ],
)
def test_the_innermost_folder_that_is_mounted_holds_a_place(place: str, path: str | None) -> None:
    assert find_mounted(place, CLAIMS) == (path and Path(path))
    assert find_mounted(place, {}) is None


def test_other_places_are_left_as_they_are() -> None:
    assert [mounted_path(place) for place in ("photos", "s3://team/images")] == ["photos", "s3://team/images"]


def test_outside_of_pods_the_way_out_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KFP_POD_NAME", raising=False)
    with pytest.raises(StoreError, match=r"pvc://team/images: .* the path at which it is mounted here"):
        mounted_path("pvc://team/images")
