import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.preparation.preparation import prepare_dataset
from kfp_image_tuning.preparation.sources import archives
from kfp_image_tuning.preparation.sources.sources import open_source
from tests.preparation.corpus import encode, make_folder, silent, snapshot

Members = list[tuple[str, bytes]]
GOOD: Members = [("cat/1.jpg", encode(1)), ("dog/2.jpg", encode(2))]


def read(path: Path, scratch: Path) -> object:
    return open_source(str(path), scratch / "downloads", silent).read(scratch / "images")


def make_zip(path: Path, members: Members) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
    for name, data in members:
        archive.writestr(name, data)
    return archive


def zip_with(name: str, data: bytes = b"x", mode: int = 0) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with make_zip(folder / "x.zip", GOOD) as archive:
            member = zipfile.ZipInfo(name)
            member.external_attr = mode << 16
            archive.writestr(member, data)
        return folder / "x.zip"

    return make


def zip_bomb(folder: Path) -> Path:
    with make_zip(folder / "x.zip", GOOD) as archive, archive.open("cat/bomb.jpg", "w") as member:
        for _ in range(10):
            member.write(bytes(1 << 20))
    return folder / "x.zip"


def lying_zip(folder: Path) -> Path:
    """A member that says it is small and unpacks to much."""
    with make_zip(folder / "x.zip", GOOD) as archive:
        archive.writestr("cat/bomb.jpg", bytes(5 << 20))
    data = (folder / "x.zip").read_bytes()
    are = data.replace(struct.pack("<I", 5 << 20), struct.pack("<I", 10))
    (folder / "x.zip").write_bytes(are)
    return folder / "x.zip"


def tar_with(
    change: Callable[[tarfile.TarInfo], None], data: bytes = b"", mode: str = "w:gz"
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with tarfile.open(folder / "x.tar.gz", mode) as archive:  # type: ignore[call-overload]
            for name, content in GOOD:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            member = tarfile.TarInfo("cat/evil.jpg")
            member.size = len(data)
            change(member)
            archive.addfile(member, io.BytesIO(data))
        return folder / "x.tar.gz"

    return make


def set_fields(**fields: object) -> Callable[[tarfile.TarInfo], None]:
    def change(member: tarfile.TarInfo) -> None:
        for name, value in fields.items():
            setattr(member, name, value)

    return change


def tar_bomb(folder: Path) -> Path:
    return tar_with(set_fields(name="cat/notes.txt"), bytes(10 << 20))(folder)


def twice_in_tar(folder: Path) -> Path:
    return tar_with(set_fields(name="./cat/1.jpg"), b"other")(folder)


ARCHIVES = {
    "zip: climbs out": (zip_with("../../evil.jpg"), "points outside of the archive"),
    "zip: climbs out in Windows' way": (zip_with("cat\\..\\..\\evil.jpg"), "points outside of the archive"),
    "zip: absolute": (zip_with("/etc/evil.jpg"), "points outside of the archive"),
    "zip: drive": (zip_with("C:\\evil.jpg"), "points outside of the archive"),
    "zip: link": (zip_with("cat/link.jpg", b"/etc/passwd", stat.S_IFLNK | 0o777), "is a link"),
    "zip: device": (zip_with("cat/disk.jpg", b"", stat.S_IFBLK | 0o666), "a device"),
    "zip: twice": (zip_with("cat/1.jpg"), "is in it twice"),
    "zip: bomb": (zip_bomb, "unpacks to more than"),
    "tar: climbs out": (tar_with(set_fields(name="../../evil.jpg")), "points outside of the archive"),
    "tar: absolute": (tar_with(set_fields(name="/etc/evil.jpg")), "points outside of the archive"),
    "tar: symbolic link": (tar_with(set_fields(type=tarfile.SYMTYPE, linkname="/etc/passwd")), "is a link"),
    "tar: hard link": (tar_with(set_fields(type=tarfile.LNKTYPE, linkname="/etc/passwd")), "is a link"),
    "tar: device": (tar_with(set_fields(type=tarfile.BLKTYPE)), "a device"),
    "tar: pipe": (tar_with(set_fields(type=tarfile.FIFOTYPE)), "a device"),
    "tar: twice": (twice_in_tar, "is in it twice"),
    "tar: bomb in a member that is not an image": (tar_bomb, "unpacks to more than"),
    "tar: bomb in a header": (
        tar_with(set_fields(pax_headers={"comment": "x" * (2 << 20)})),
        "header has more than",
    ),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("make", "message"), ARCHIVES.values(), ids=ARCHIVES)
def test_archive_that_tries_something_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path], message: str
) -> None:
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED_BYTES", 4 << 20)
    path = make(tmp_path)
    with pytest.raises(DatasetError, match=message):
        read(path, tmp_path)
    assert not list(tmp_path.rglob("evil*"))


def test_zip_member_that_lies_about_its_size_is_left_out(tmp_path: Path) -> None:
    images = read(lying_zip(tmp_path), tmp_path)
    assert [item.image for item in images.skipped] == ["cat/bomb.jpg"]  # type: ignore[attr-defined]


def test_zip_member_with_a_wrong_checksum_is_left_out(tmp_path: Path) -> None:
    with make_zip(tmp_path / "x.zip", []) as archive:
        for name, data in [*GOOD, ("cat/3.jpg", b"0123456789" * 5)]:
            archive.writestr(zipfile.ZipInfo(name), data)
    data = (tmp_path / "x.zip").read_bytes()
    (tmp_path / "x.zip").write_bytes(data.replace(b"0123456789" * 5, b"1123456789" * 5))
    images = read(tmp_path / "x.zip", tmp_path)
    [item] = images.skipped  # type: ignore[attr-defined]
    assert item.image == "cat/3.jpg"
    assert "is damaged in the archive" in item.reason


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    make_zip(tmp_path / "x.zip", GOOD).close()
    data = bytearray((tmp_path / "x.zip").read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 8] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(DatasetError, match="is encrypted"):
        read(tmp_path / "x.zip", tmp_path)


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.parquet", "x.rec"])
@pytest.mark.parametrize("content", ["nothing", "garbage", "part"])
def test_damaged_container_is_one_clear_error(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    if name == "x.zip":
        make_zip(path, GOOD).close()
    else:
        tar_with(set_fields(), mode="w:gz" if name.endswith("gz") else "w")(tmp_path).rename(path)
    whole = path.read_bytes()
    path.write_bytes({"nothing": b"", "garbage": os.urandom(5000), "part": whole[: len(whole) // 4]}[content])
    with pytest.raises(DatasetError, match=r"damaged|no such archive|holds no|RecordIO"):
        read(path, tmp_path)


def test_allowance_for_well_packed_drawings(tmp_path: Path) -> None:
    """A small archive may unpack to much more than its size."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((2000, 2000), np.uint8)).save(file, "BMP")
    make_zip(tmp_path / "x.zip", [(f"{kind}/1.bmp", file.getvalue()) for kind in ("a", "b")]).close()
    ratio = 2 * len(file.getvalue()) / (tmp_path / "x.zip").stat().st_size
    assert ratio > archives.MAXIMUM_RATIO
    read(tmp_path / "x.zip", tmp_path)


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82"


def test_bad_files_are_left_out_with_their_reasons(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", count=30)
    (folder / "cat/empty.jpg").write_bytes(b"")
    (folder / "cat/truncated.jpg").write_bytes(encode(1)[:600])
    (folder / "cat/text.jpg").write_bytes(b"this is not an image at all")
    (folder / "cat/huge.png").write_bytes(png_header(50_000, 50_000))
    (folder / "cat/dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "cat/itself.jpg").symlink_to("itself.jpg")
    os.mkfifo(folder / "cat/pipe.jpg")
    (folder / "cat/really a png.jpg").write_bytes(encode(12345, form="PNG"))
    (folder / "cat/folder.jpg").mkdir()
    (folder / "dog/loop").symlink_to("..")
    (folder / "dog/odd \n\tname é 狗.jpg").write_bytes(encode(777))
    dataset = prepare_dataset(str(folder), tmp_path / "out", max_invalid_images=7, workers=1, progress=silent)
    reasons = {item.image: item.reason for item in dataset.skipped}
    assert set(reasons) == {
        *(f"cat/{name}" for name in ("empty.jpg", "truncated.jpg", "text.jpg", "huge.png")),
        *(f"cat/{name}" for name in ("dangling.jpg", "itself.jpg", "pipe.jpg")),
        "dog/loop",
    }
    for name, reason in {
        "cat/empty.jpg": "empty",
        "cat/truncated.jpg": "damaged or cut off",
        "cat/text.jpg": "is not a JPEG",
        "cat/huge.png": "pixels",
        "cat/dangling.jpg": "No such file",
        "cat/itself.jpg": "symbolic links",
        "cat/pipe.jpg": "not a regular file",
        "dog/loop": "already visited",
    }.items():
        assert reason in reasons[name]
    assert sum(split.images for split in dataset.splits.values()) == 92
    listed = "".join((tmp_path / "out" / split / f"{split}.lst").read_text() for split in dataset.splits)
    assert "dog/odd %0A%09name é 狗.jpg\n" in listed


@pytest.mark.parametrize(("max_invalid_images", "tolerated"), [(1, 1), (0, 0), (0.05, 2), (0.0, 0)])
def test_too_many_bad_images_are_an_error_that_lists_them(
    tmp_path: Path, max_invalid_images: float, tolerated: int
) -> None:
    folder = make_folder(tmp_path / "data", count=7)
    for number in range(3):
        (folder / f"cat/bad{number}.jpg").write_bytes(b"bad")
    with pytest.raises(DatasetError, match=f"more than {tolerated} of 24 images cannot be used") as caught:
        prepare_dataset(
            str(folder), tmp_path / "out", max_invalid_images=max_invalid_images, workers=1, progress=silent
        )
    assert any("cat/bad0.jpg: is not a JPEG" in problem for problem in caught.value.problems)
    assert sorted(os.listdir(tmp_path)) == ["data"]


def test_output_is_not_written_over_anything(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data")
    before = snapshot(folder)
    for output in (folder, tmp_path):
        with pytest.raises(DatasetError, match="the output would replace the source"):
            prepare_dataset(str(folder), output, progress=silent)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter1.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="is not a data set, so it is not replaced"):
        prepare_dataset(str(folder), tmp_path / "thesis", progress=silent)
    assert (tmp_path / "thesis/chapter1.txt").read_text() == "years of work"
    assert snapshot(folder) == before
