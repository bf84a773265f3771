"""The archive of code in a compiled pipeline."""

import base64
import json
import lzma
import subprocess
import sys
from pathlib import Path

import pytest

from kfp_image_tuning.code_archive import unpacking
from kfp_image_tuning.code_archive.packing import build_archive, collect_files
from kfp_image_tuning.code_archive.unpacking import read_archive, unpack


def pack(content: object) -> str:
    return base64.b64encode(lzma.compress(json.dumps(content).encode())).decode()


def test_archive_gives_the_files_back(tmp_path: Path) -> None:
    files = {"kfp_image_tuning/a/b.py": "x = 'ü'\n", "kfp_image_tuning/a/__init__.py": ""}
    assert read_archive(build_archive(files)) == files
    unpack(build_archive(files), tmp_path)
    assert (tmp_path / "kfp_image_tuning/a/b.py").read_text(encoding="utf-8") == "x = 'ü'\n"


def test_order_of_files_does_not_change_the_archive() -> None:
    assert build_archive({"a.py": "1", "b.py": "2"}) == build_archive({"b.py": "2", "a.py": "1"})


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.py", "a/../../outside.py", ""])
def test_path_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leads out"):
        unpack(pack({"fine.py": "", name: "text"}), tmp_path / "code")
    assert not (tmp_path / "code").exists()


def test_archive_that_grows_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MAXIMUM_BYTES", 1000)
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        read_archive(pack({"a.py": "x" * 5000}))


def test_archive_that_was_cut_is_refused() -> None:
    whole = base64.b64decode(pack({"a.py": "x"}))
    with pytest.raises(ValueError, match="cut off"):
        read_archive(base64.b64encode(whole[:-20]).decode())


def test_only_what_is_imported_is_collected() -> None:
    files = collect_files("from kfp_image_tuning.tuning.errors import ImageTuningError\n")
    assert sorted(files) == [
        "kfp_image_tuning/tuning/__init__.py",
        "kfp_image_tuning/tuning/errors.py",
        "kfp_image_tuning/tuning/result.schema.json",
    ]


def test_modules_that_are_started_by_name_are_collected() -> None:
    files = collect_files("import sys\ncommand = [sys.executable, '-m', 'kfp_image_tuning.tuning.budget']\n")
    assert "kfp_image_tuning/tuning/budget.py" in files
    assert "kfp_image_tuning/tuning/result.py" in files, "what that module imports is needed too"


def test_unpacking_program_needs_the_standard_library_alone(tmp_path: Path) -> None:
    program = Path(unpacking.__file__).read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(tmp_path)],
        input=build_archive({"kfp_image_tuning/a.py": "x = 1\n"}),
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "kfp_image_tuning/a.py").read_text() == "x = 1\n"
