"""``kfp-image-tuning prepare``, as it is typed."""

import json
from pathlib import Path

import pytest

from kfp_image_tuning.cli.command_line import main
from tests.preparation.corpus import make_folder


def test_dry_run_says_how_the_images_are_understood_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("training_set", "test_set"):
        make_folder(tmp_path / "photos" / split)
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "--data", "photos", "--merge", "owl=dog", "--dry-run", "--json"]) == 0
    understood = "\n".join(json.loads(capsys.readouterr().out)["understood"])
    for text in ("train (training_set)", "test (test_set)", "owl into dog", "all 48x40 pixels", "image_shape 3,40,48"):
        assert text in understood
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.parametrize(("option", "value"), [("--splits", "fold1,fold2"), ("--splits", "tst=a"), ("--merge", "cat")])
def test_options_of_another_form_are_refused_at_once(option: str, value: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["prepare", "--data", "nowhere", "--output", "out", option, value])
    assert caught.value.code == 2


def test_output_is_needed_to_prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_folder(tmp_path / "photos")
    assert main(["prepare", "--data", str(tmp_path / "photos")]) == 2
    assert "--dry-run" in capsys.readouterr().err
