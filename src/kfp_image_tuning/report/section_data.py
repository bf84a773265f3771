"""The data set: its classes and splits, and what was found in it."""

from collections.abc import Sequence

from kfp_image_tuning.core.wording import count
from kfp_image_tuning.dataset.document import Dataset
from kfp_image_tuning.report.blocks import (
    bar,
    card,
    columns,
    facts,
    folded,
    head,
    note,
    number_cell,
    scrolling,
    section,
    short_code,
)
from kfp_image_tuning.report.markup import Content, Markup, element
from kfp_image_tuning.report.wording import percent, size

LISTED = 100
"""Of long lists, so many entries are shown."""


def data_section(dataset: Dataset) -> Markup:
    """What the images are."""
    return section(
        "data",
        "Data",
        columns(card("Images", _facts(dataset)), card("Classes", _class_table(dataset))),
        _findings(dataset),
    )


def _facts(dataset: Dataset) -> Markup:
    images = sum(split.images for split in dataset.splits.values())
    stored = sum(shard.bytes for split in dataset.splits.values() for shard in split.shards)
    parts = ", ".join(f"{split.images:,} {name}" for name, split in dataset.splits.items())
    resize = dataset.resize
    quality = "" if resize.quality is None else f", quality {resize.quality}"
    pairs: list[tuple[str, Content]] = [
        ("Source", f"{dataset.source.uri} ({dataset.source.kind})"),
        ("Images", f"{images:,} in {count(len(dataset.classes), 'class').replace('classs', 'classes')}: {parts}"),
        ("Labels", "several an image" if dataset.multi_label else "one an image"),
        ("Shape", " x ".join(map(str, dataset.image_shape)) + " (channels, height, width)"),
        ("Stored", f"{size(stored)}, {resize.encoding}{quality}"),
        ("Resizing", f"{resize.aspect}, {resize.interpolation}"),
        ("Seed", str(dataset.seed)),
        ("Fingerprint", short_code(dataset.fingerprint)),
    ]
    return facts(pairs)


def _class_table(dataset: Dataset) -> Markup:
    totals = {name: sum(split.images_per_class[name] for split in dataset.splits.values()) for name in dataset.classes}
    largest = max(totals.values(), default=0) or 1
    rows = (
        element(
            "tr",
            element("th", name, scope="row"),
            *(
                number_cell(split.images_per_class[name], f"{split.images_per_class[name]:,}")
                for split in dataset.splits.values()
            ),
            element(
                "td",
                bar(totals[name] / largest),
                f"{totals[name]:,}",
                class_="number with-bar",
                data_sort=str(totals[name]),
            ),
        )
        for name in dataset.classes
    )
    heading = element(
        "tr", head("Class"), *(head(name, number=True) for name in dataset.splits), head("All", number=True)
    )
    table = element("table", element("thead", heading), element("tbody", *rows), class_="sortable")
    smallest = min(totals.values(), default=0)
    uneven = smallest * 5 < largest
    return element(
        "div",
        note(f"The largest class has {largest / max(1, smallest):.0f} times the images of the smallest.")
        if uneven
        else None,
        scrolling(table, "Images of every class", tall=len(dataset.classes) > 20),
    )


def _findings(dataset: Dataset) -> Markup:
    skipped = [element("span", element("code", item.image), f": {item.reason}") for item in dataset.skipped]
    duplicates = [
        element("span", " = ".join(group.images), element("small", f" kept together in {group.split}"))
        for group in dataset.duplicates
    ]
    conflicts = [
        "; ".join(
            f"{image} is {' + '.join(names) or 'nothing'}"
            for image, names in zip(conflict.images, conflict.classes, strict=True)
        )
        for conflict in dataset.label_conflicts
    ]
    kept = sum(split.images for split in dataset.splits.values())
    share = percent(len(skipped) / max(1, kept + len(skipped)))
    found = (
        _list("How the source was understood", dataset.source.understood),
        _list(f"{count(len(skipped), 'image')} skipped ({share})", skipped),
        _list(f"{count(len(duplicates), 'group')} of exact copies, none across splits", duplicates),
        _list(f"{count(len(conflicts), 'group')} of equal images with different labels", conflicts),
    )
    if not any(found[1:]):
        sound = note("Every image could be read; no copies, no conflicting labels.")
        return card("What was found", sound, found[0])
    return card("What was found", *found)


def _list(title: str, entries: Sequence[Content]) -> Markup | None:
    if not entries:
        return None
    more = element("li", f"and {len(entries) - LISTED:,} more, in dataset.json") if len(entries) > LISTED else None
    return folded(title, element("ul", *(element("li", entry) for entry in entries[:LISTED]), more))
