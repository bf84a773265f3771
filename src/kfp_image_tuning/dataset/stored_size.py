"""At which size a pixel store holds its images: all at one, whatever their own sizes are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class StoredSize:
    """What decides at which size images are stored, see `PixelStore.open`.

    Attributes:
        image_shape: Channels, height and width that the network sees.
        given: Height and width to store; None: found out.
        resize: Shortest side that every image is brought to; goes before ``given``.
    """

    image_shape: tuple[int, int, int]
    given: tuple[int, int] | None = None
    resize: int | None = None

    def choose(self, own_sizes: Iterable[tuple[int, int] | None]) -> tuple[int, int]:
        """Height and width to store.

        Args:
            own_sizes: Height and width of each image, read as far as they are needed; None for one that cannot be read.
        """
        _, height, width = self.image_shape
        if self.resize is not None:
            sizes = [_with_shortest_side(size, self.resize) for size in own_sizes if size]
            chosen = (min(size[0] for size in sizes), min(size[1] for size in sizes)) if sizes else (height, width)
        elif self.given is not None:
            chosen = self.given
        else:
            chosen = self._own_or_usual(iter(own_sizes))
        return max(height, chosen[0]), max(width, chosen[1])

    def _own_or_usual(self, own_sizes: Iterator[tuple[int, int] | None]) -> tuple[int, int]:
        """The images' own size where all have the same and it suits the network."""
        _, height, width = self.image_shape
        own = next(own_sizes)
        fits = own is not None and height <= own[0] <= 2 * height and width <= own[1] <= 2 * width
        if own is not None and fits and all(size == own for size in own_sizes):
            return own
        return round(height * 8 / 7), round(width * 8 / 7)


def _with_shortest_side(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Height and width of an image that is resized with its aspect kept."""
    scale = side / min(size)
    return round(size[0] * scale), round(size[1] * scale)
