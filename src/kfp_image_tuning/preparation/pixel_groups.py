"""Which images are equal, pixel by pixel, whatever file they come in.

Equal means: the same decoded, upright pixels at full size. So a JPEG that lost its metadata or was optimised without
loss is a copy of the original, and so is its PNG. The quick digests that conversion yields on the way name the
candidates; only those are decoded once more and compared by SHA-256.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from kfp_image_tuning.preparation.conversion import ScannedImage, StoredImage, digest_pixels
from kfp_image_tuning.preparation.sources.image_reference import ImageReference
from kfp_image_tuning.preparation.workers import Workers

IMAGES_AT_A_TIME = 32


def sizes_of_mixed_formats(scanned: Sequence[ScannedImage]) -> set[tuple[int, int]]:
    """Sizes at which there are JPEGs as well as other formats.

    The JPEG decoder shrinks large images on the way, which others don't, so at these sizes it must not, for the quick
    digests to be comparable.
    """
    formats: dict[tuple[int, int], set[bool]] = defaultdict(set)
    for image in scanned:
        formats[image.height, image.width].add(image.is_jpeg)
    return {size for size, kinds in formats.items() if len(kinds) > 1}


def identify_pixels(
    references: Sequence[ImageReference], stored: Mapping[int, StoredImage], channels: int, workers: Workers
) -> dict[int, bytes]:
    """A key for each image, by position, that equal images share.

    Args:
        references: All images.
        stored: The usable ones by position.
        channels: 3 or 1, as the network will see them.
        workers: Decode the candidates.
    """
    alike: dict[bytes, list[int]] = defaultdict(list)
    for position, image in stored.items():
        alike[image.pixels].append(position)
    candidates = [position for group in alike.values() if len(group) > 1 for position in group]
    keys = {position: b"alone %d" % position for position in stored}

    def batches() -> Iterator[tuple[int, list[ImageReference]]]:
        for start in range(0, len(candidates), IMAGES_AT_A_TIME):
            yield channels, [references[position] for position in candidates[start : start + IMAGES_AT_A_TIME]]

    digests = (digest for batch in workers.map(digest_pixels, batches()) for digest in batch)
    keys.update(zip(candidates, digests, strict=True))
    return keys
