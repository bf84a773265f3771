"""Wheel and sdist of the checked-out commit: ``python -m tools.distributions [FOLDER]``, by default ``dist``.

They depend on the commit and the build tools alone, so that anyone can build a release again and compare: files, modes
and times are the commit's, and nothing that is in the checkout besides gets in.
"""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build_distributions(folder: Path) -> list[Path]:
    """Build them from the commit that is checked out; returns their paths in the folder."""
    epoch = _git("log", "-1", "--format=%ct").decode().strip()
    with tempfile.TemporaryDirectory() as scratch:
        source, built = Path(scratch, "source"), Path(scratch, "built")
        with tarfile.open(fileobj=io.BytesIO(_git("archive", "HEAD"))) as archive:
            # The filter gives every file the same mode, whatever the umask.
            archive.extractall(source, filter="data")
        subprocess.run(
            [sys.executable, "-m", "build", "--outdir", str(built), str(source)],
            env={**os.environ, "SOURCE_DATE_EPOCH": epoch},
            umask=0o022,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        folder.mkdir(parents=True, exist_ok=True)
        return [_settle(path, folder / path.name, int(epoch)) for path in sorted(built.iterdir())]


def _settle(built: Path, target: Path, epoch: int) -> Path:
    """Put a distribution into its place; an sdist, in which setuptools leaves times and owners, without those."""
    if built.suffix == ".whl":
        target.write_bytes(built.read_bytes())
        return target
    with (
        tarfile.open(built) as archive,
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as settled,
    ):
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            plain = tarfile.TarInfo(member.name)
            plain.type, plain.mode, plain.size, plain.mtime = member.type, member.mode, member.size, epoch
            settled.addfile(plain, archive.extractfile(member) if member.isfile() else None)
    return target


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


if __name__ == "__main__":
    for path in build_distributions(Path(sys.argv[1] if len(sys.argv) > 1 else "dist")):
        print(path)
