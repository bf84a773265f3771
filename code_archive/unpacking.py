"""Unpack the code that travels inside a compiled pipeline; runs in the pod, before anything is installed there.

The text of this file goes into the pipeline's YAML and is run as ``python3 -c``, so it imports the standard library
alone. The archive is one JSON object of paths and texts, compressed and base64-coded: it cannot hold links, devices or
modes, and what remains to be refused is a path that leads out of the folder and a size that no program has.
"""

import base64
import json
import lzma
import sys
from pathlib import Path, PurePosixPath

MAXIMUM_BYTES = 16 * 1024 * 1024


def read_archive(text: str) -> dict[str, str]:
    """The files in an archive, by their paths.

    Raises:
        ValueError: If it is damaged, too large, or holds a path that leads elsewhere.
    """
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    content = decompressor.decompress(base64.b64decode(text), max_length=MAXIMUM_BYTES)
    if not decompressor.eof:
        raise ValueError(f"the embedded code is cut off, or larger than {MAXIMUM_BYTES} bytes")
    files: dict[str, str] = json.loads(content)
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"the embedded code holds a path that leads out of its folder: {name!r}")
    return files


def unpack(text: str, directory: Path) -> None:
    """Write the files of an archive into a folder."""
    for name, source in read_archive(text).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")


if __name__ == "__main__":
    unpack(sys.stdin.read(), Path(sys.argv[1]))
