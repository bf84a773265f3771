"""Data preparation against ``im2rec`` of MXNet, on the same photographs in the same run.

Both make a RecordIO file of 256-pixel JPEGs of quality 95 out of a folder of class folders with 500x375 photographs.
im2rec resizes the shorter side; `prepare_dataset` also verifies, hashes, compares and splits the images. Compared is
the CPU time of one process on the same number of images, the median of interleaved rounds, start-up taken off by a
run on few images.

im2rec runs in ``.venv-mxnet``, which ``make test-mxnet`` makes. Without it a plain Pillow loop is the only baseline.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MXNET_PYTHON = Path(os.environ.get("MXNET_PYTHON", ROOT / ".venv-mxnet" / "bin" / "python"))
IMAGES = 1000
FEW_IMAGES = 100
ROUNDS = 5
HEIGHT, WIDTH = 375, 500

_OURS = """
import sys
from pathlib import Path
from kfp_image_tuning.preparation.preparation import prepare_dataset
prepare_dataset(sys.argv[1], Path(sys.argv[2]), workers=1, encoding="jpeg", quality=95, progress=lambda line: None)
"""
_PILLOW = """
import io, sys
from pathlib import Path
from PIL import Image
with open(sys.argv[2], "wb") as out:
    for path in sorted(Path(sys.argv[1]).glob("*/*.jpg")):
        file = io.BytesIO()
        Image.open(path).convert("RGB").resize((256, 256), Image.Resampling.BILINEAR).save(file, "JPEG", quality=95)
        out.write(file.getvalue())
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        _write_photographs(work)
        tools = {"kfp-image-tuning prepare, 1 worker": _ours, "Pillow loop": _pillow}
        if MXNET_PYTHON.exists():
            tools["mxnet.tools.im2rec --resize 256"] = _im2rec
        else:
            print("im2rec is left out: no .venv-mxnet; make it with `make test-mxnet`")
        times: dict[str, list[float]] = {name: [] for name in tools}
        for _ in range(ROUNDS):
            for name, run in tools.items():
                times[name].append(run(work, "many") - run(work, "few"))
        _report(times)


def _write_photographs(work: Path) -> None:
    sys.path.insert(0, str(ROOT))
    from benchmarks.photographs import make_photographs

    for number, data in enumerate(make_photographs(IMAGES, HEIGHT, WIDTH)):
        for name, count in (("many", IMAGES), ("few", FEW_IMAGES)):
            if number < count:
                path = work / name / f"class{number % 4}" / f"{number:05d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)


def _report(times: dict[str, list[float]]) -> None:
    ours = next(iter(times.values()))
    per_image = (IMAGES - FEW_IMAGES) / 1000
    print(f"{IMAGES - FEW_IMAGES} photographs of {WIDTH}x{HEIGHT} to RecordIO, JPEG of quality 95, one core:")
    for name, seconds in times.items():
        # Each round's own ratio, so that a slower machine in one round harms no one.
        ratio = statistics.median(theirs / own for theirs, own in zip(seconds, ours, strict=True))
        middle = statistics.median(seconds)
        print(f"  {name:36} {middle / per_image:6.2f} ms CPU an image, ours is {ratio:4.2f}x as fast")


def _ours(work: Path, images: str) -> float:
    output = work / f"ours-{images}"
    seconds = _cpu_seconds([sys.executable, "-c", _OURS, str(work / images), str(output)])
    subprocess.run(["rm", "-r", str(output)], check=True)
    return seconds


def _pillow(work: Path, images: str) -> float:
    return _cpu_seconds([sys.executable, "-c", _PILLOW, str(work / images), str(work / "pillow.bin")])


def _im2rec(work: Path, images: str) -> float:
    prefix, root = str(work / f"im2rec-{images}"), str(work / images)
    command = [str(MXNET_PYTHON), "-m", "mxnet.tools.im2rec"]
    listing = _cpu_seconds([*command, "--list", "--recursive", prefix, root])
    return listing + _cpu_seconds([*command, "--resize", "256", "--quality", "95", prefix, root])


def _cpu_seconds(command: list[str]) -> float:
    """CPU time of a program and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
