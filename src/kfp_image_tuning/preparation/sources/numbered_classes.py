"""Names for classes that a source only numbers.

Classes are sorted by name, and a name's position is the label. Numbers are therefore padded (``00`` to ``10``), so
that an image keeps its number as label.
"""

from collections.abc import Sequence
from dataclasses import replace

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.preparation.sources.image_reference import ImageReference

MAXIMUM_DIGITS = 6
"""Every number up to the highest is a class."""


def name_numbered_classes(
    references: Sequence[ImageReference], names: Sequence[str] | None, place: str
) -> tuple[list[ImageReference], list[str]]:
    """Turn labels such as ``"7"`` into class names.

    Args:
        references: Images whose labels are numbers from 0.
        names: The classes' names, by number; None to make them up.
        place: The source, for messages.

    Returns:
        The images, and the name of every class, also of those without images.

    Raises:
        DatasetError: If a number has no name, or is none of a class.
    """
    longest = max((len(label) for reference in references for label in reference.labels), default=0)
    if longest > MAXIMUM_DIGITS:
        raise DatasetError(
            f"{place}: holds a class number of {longest} digits; numbers of classes have at most {MAXIMUM_DIGITS}, "
            "correct the labels"
        )
    highest = max((int(label) for reference in references for label in reference.labels), default=0)
    if not names:
        names = [f"{number:0{len(str(highest))}d}" for number in range(highest + 1)]
    if highest >= len(names):
        raise DatasetError(
            f"{place}: holds the class number {highest}, but only {len(names)} class names are known "
            f"(numbers start at 0); name all {highest + 1}"
        )
    named = [
        replace(reference, labels=tuple(sorted(names[int(label)] for label in reference.labels)))
        for reference in references
    ]
    return named, list(names)
