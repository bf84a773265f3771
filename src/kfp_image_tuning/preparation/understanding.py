"""The table that says what was understood of a source, before time is spent on it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction

from kfp_image_tuning.core.console import printable_name
from kfp_image_tuning.dataset.document import SPLIT_NAMES
from kfp_image_tuning.preparation.sources.reading import natural_key
from kfp_image_tuning.preparation.sources.source import LabelledImages

CLASSES_SHOWN = 20
REASONS_SHOWN = 8
SHARED_OUT = "to be split"


def describe_source(uri: str, kind: str, images: LabelledImages, fractions: Mapping[str, float]) -> list[str]:
    """Lines with the source's form, its splits, its classes with their images in each split, and what is skipped.

    Args:
        uri: The source.
        kind: Its form.
        images: What was found in it.
        fractions: Fraction of each split, for images of which the source names none.
    """
    splits, *more = describe_reading(images, fractions)
    given = {reference.split for reference in images.references}
    table = _class_table(images, [split for split in (*SPLIT_NAMES, None) if split in given])
    reasons = Counter(item.reason for item in images.findings.skipped)
    skipped = [f"skipped: {count:,} {reason}" for reason, count in reasons.most_common(REASONS_SHOWN)]
    skipped += [f"skipped: for {len(reasons) - REASONS_SHOWN:,} more reasons"] * (len(reasons) > REASONS_SHOWN)
    lines = (f"  {line}" for line in (splits, *table, *skipped, *more))
    return [f"{uri}: {len(images.references):,} images of {len(images.classes)} classes ({kind})", *lines]


def describe_reading(images: LabelledImages, fractions: Mapping[str, float]) -> list[str]:
    """How a source was read, a sentence each: its splits first, then what was left aside and what was decided."""
    given = Counter(reference.split for reference in images.references)
    notes = images.findings.notes
    return [
        f"splits: {_describe_splits(given, images.findings.split_words, fractions)}",
        *(f"aside: {printable_name(note.image)}: {note.reason}" for note in notes[:REASONS_SHOWN]),
        *[f"aside: {len(notes) - REASONS_SHOWN:,} more"] * (len(notes) > REASONS_SHOWN),
        *(f"note: {sentence}" for sentence in images.findings.decisions),
    ]


def describe_sizes(sizes: Sequence[tuple[int, int]]) -> str:
    """The sizes of the images, in words; height and width each."""
    if len(set(sizes)) == 1:
        return f"  sizes: all {sizes[0][1]}x{sizes[0][0]} pixels"
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    told = (ordered[0], ordered[len(ordered) // 2], ordered[-1])
    small, middle, large = (f"{width}x{height}" for height, width in told)
    return f"  sizes: {small} to {large} pixels, half of the images up to {middle}"


def _describe_splits(
    given: Mapping[str | None, int], words: Mapping[str, Sequence[str]], fractions: Mapping[str, float]
) -> str:
    named = [split for split in SPLIT_NAMES if given.get(split)]
    parts = [f"{split} ({', '.join(words.get(split, ())) or 'named by the source'})" for split in named]
    missing = [split for split in SPLIT_NAMES if split not in named]
    shares = "/".join(f"{float(Fraction(str(fractions[split])) * 100):g}" for split in SPLIT_NAMES)
    if not named:
        return f"none named; shared out class by class, {shares} % for {', '.join(SPLIT_NAMES)}"
    if given.get(None):
        parts.append(f"{given[None]:,} images without one are shared out, {shares} %")
    elif missing and "train" in named:
        parts.append(f"{' and '.join(missing)} cut from train")
    return "; ".join(parts)


def _class_table(images: LabelledImages, splits: Sequence[str | None]) -> list[str]:
    """One line for each class, with the number of its images in each split."""
    counts: dict[str, Counter[str | None]] = defaultdict(Counter)
    for reference in images.references:
        for label in reference.labels:
            counts[label][reference.split] += 1
    totals = {name: sum(counts[name].values()) for name in images.classes}
    shown = list(images.classes[:CLASSES_SHOWN])
    rest = images.classes[CLASSES_SHOWN:]
    width = max(len("class"), *(len(printable_name(name)) for name in shown))
    heads = [split or SHARED_OUT for split in splits]
    lines = ["  ".join([f"{'class':<{width}}", *heads])]
    for name in shown:
        cells = [f"{counts[name][split]:>{len(head)},}" for split, head in zip(splits, heads, strict=True)]
        lines.append("  ".join([f"{printable_name(name):<{width}}", *cells]))
    if rest:
        sizes = sorted(totals[name] for name in rest)
        last = max(rest, key=natural_key)
        told = f"with {sizes[0]:,} to {sizes[-1]:,} images each"
        lines.append(f"and {len(rest):,} more, to {printable_name(last)}, {told}")
    return lines
