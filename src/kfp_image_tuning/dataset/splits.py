"""Which image goes into training, validation and test: stratified, seeded, and the same on every machine.

The rules:

* Images with equal pixels form a group, which never crosses a split. Groups, not images, are counted and shared out.
* Equal pixels under different labels say that some label is wrong, not which: all copies are skipped and reported.
* A split that the source itself names is kept. Where it holds a copy of a test image in validation or training (or of a
  validation image in training), that copy is skipped, so that the held-out images stay what they are.
* Images of one named group (a patient, a burst, a video) never cross a split either.
* Images without a given split are shared out by the fractions, class by class (with several labels an image: by
  iterative stratification, the rarest label first). Where every image has a given split but validation or test got
  none, the missing ones are cut from training.
* The lot falls by a hash of seed and name, so neither the order of the files nor the machine matters.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import SPLIT_NAMES, Duplicates, LabelConflict, SkippedImage


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """What the split needs to know of an image.

    Attributes:
        name: Unique name in the source.
        labels: Its classes, sorted.
        content: Equal for images with equal pixels, different otherwise.
        given_split: ``train``, ``validation`` or ``test`` when the source says so.
        group: What it shares with images that must stay in one split with it, such as a patient.
    """

    name: str
    labels: tuple[str, ...]
    content: bytes
    given_split: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class SplitPlan:
    """The outcome.

    Attributes:
        split_of: For each image, in the order they came: its split, or None when it is skipped.
        skipped: Images skipped because a copy is in a split that is held out.
        duplicates: Groups of equal images that were kept, together.
        label_conflicts: Groups of equal images with different labels, skipped.
    """

    split_of: tuple[str | None, ...]
    skipped: tuple[SkippedImage, ...]
    duplicates: tuple[Duplicates, ...]
    label_conflicts: tuple[LabelConflict, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    """Images with equal pixels and equal labels, and the named groups that they are of."""

    rank: bytes
    labels: tuple[str, ...]
    members: tuple[int, ...]
    named: frozenset[str] = frozenset()


def plan_splits(images: Sequence[LabelledImage], fractions: Mapping[str, float], seed: int) -> SplitPlan:
    """Share images out among training, validation and test.

    Args:
        images: All usable images, in any order.
        fractions: Fraction of each split; they add up to 1.
        seed: Another seed, another split.

    Raises:
        DatasetError: If the fractions are not above 0 and together 1, or classes are too small to be in every split
            (all are listed).
    """
    shares = read_fractions(fractions)
    members_by_content: dict[bytes, list[int]] = defaultdict(list)
    for position in sorted(range(len(images)), key=lambda position: (images[position].name, images[position].labels)):
        members_by_content[images[position].content].append(position)

    split_of: list[str | None] = [None] * len(images)
    conflicts: list[LabelConflict] = []
    skipped: list[SkippedImage] = []
    free: list[_Group] = []
    given: list[tuple[str, _Group]] = []
    for members in members_by_content.values():
        labels = {images[position].labels for position in members}
        if len(labels) > 1:
            conflicts.append(_describe_conflict(images, members))
            continue
        split, kept = _keep_held_out_copies(images, members, skipped)
        named = frozenset(name for position in kept if (name := images[position].group) is not None)
        group = _Group(rank_of(seed, images[members[0]].name), labels.pop(), tuple(kept), named)
        if split is None:
            free.append(group)
        else:
            given.append((split, group))

    given, free = _keep_named_groups_together(given, free)
    _refuse_emptied_classes(images, [*free, *(group for _, group in given)])
    for split, group in [*_complete_given_splits(given, bool(free), shares), *_share_out(free, shares)]:
        for position in group.members:
            split_of[position] = split
    duplicates = [
        Duplicates(tuple(images[position].name for position in members if split_of[position]), split)
        for members in members_by_content.values()
        if len(members) > 1 and (split := next((split_of[p] for p in members if split_of[p]), None))
    ]
    return SplitPlan(
        tuple(split_of),
        tuple(skipped),
        tuple(group for group in duplicates if len(group.images) > 1),
        tuple(conflicts),
    )


def rank_of(seed: int, name: str, purpose: str = "split") -> bytes:
    """An image's place in the lot: a random number that only seed, name and purpose decide."""
    return hashlib.sha256(f"{purpose}\0{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()[:16]


def read_fractions(fractions: Mapping[str, float]) -> dict[str, Fraction]:
    """Check the shares and make them exact.

    Raises:
        DatasetError: If they are not one fraction above 0 for each split, adding up to 1.
    """
    # By way of the decimal form: 0.1 means one tenth, not the float next to it.
    try:
        shares = {name: Fraction(repr(float(fractions[name]))) for name in SPLIT_NAMES}
    except (KeyError, TypeError, ValueError):
        shares = {}
    total = sum(shares.values(), Fraction(0))
    if (
        set(fractions) != set(SPLIT_NAMES)
        or not all(share > 0 for share in shares.values())
        or abs(total - 1) > Fraction(1, 10**6)
    ):
        raise DatasetError(
            f"fractions: {dict(fractions)} must be one number above 0 for each of {', '.join(SPLIT_NAMES)}, adding up "
            "to 1, such as 0.8, 0.1, 0.1"
        )
    return {name: share / total for name, share in shares.items()}


def _describe_conflict(images: Sequence[LabelledImage], members: Sequence[int]) -> LabelConflict:
    return LabelConflict(
        tuple(images[position].name for position in members), tuple(images[position].labels for position in members)
    )


def _keep_held_out_copies(
    images: Sequence[LabelledImage], members: Sequence[int], skipped: list[SkippedImage]
) -> tuple[str | None, list[int]]:
    """Give a group one split: the most held out of those that its images were given."""
    for split in reversed(SPLIT_NAMES):
        kept = [position for position in members if images[position].given_split == split]
        if kept:
            break
    else:
        return None, list(members)
    original = images[kept[0]].name
    for position in members:
        image = images[position]
        if image.given_split is None:
            kept.append(position)
        elif image.given_split != split:
            reason = f"same pixels as {original} in the {split} images; a copy in {image.given_split} would be a leak"
            skipped.append(SkippedImage(image.name, reason))
    return split, sorted(kept, key=lambda position: images[position].name)


def _refuse_emptied_classes(images: Sequence[LabelledImage], groups: Sequence[_Group]) -> None:
    """A class whose every image is in a conflict would vanish without a word."""
    left = {label for group in groups for label in group.labels}
    emptied = sorted({label for image in images for label in image.labels} - left)
    if emptied:
        raise DatasetError(
            f"class(es) {', '.join(emptied)}: every image has the same pixels as an image of another class; "
            "correct the labels or remove these classes"
        )


def _complete_given_splits(
    given: Sequence[tuple[str, _Group]], has_free_images: bool, shares: Mapping[str, Fraction]
) -> list[tuple[str, _Group]]:
    """Cut the splits that nobody was given to from the given training images."""
    present = {split for split, _ in given}
    missing = [name for name in SPLIT_NAMES if name not in present]
    if not given or not missing or has_free_images:
        return list(given)
    if "train" in missing:
        raise DatasetError(
            f"the source names {' and '.join(sorted(present))} images but no training images; "
            "add a train split, or remove the split names to have the images shared out"
        )
    shared = {name: shares[name] for name in ("train", *missing)}
    total = sum(shared.values())
    pool = [group for split, group in given if split == "train"]
    kept = [(split, group) for split, group in given if split != "train"]
    return kept + _share_out(pool, {name: share / total for name, share in shared.items()})


def _share_out(groups: Sequence[_Group], shares: Mapping[str, Fraction]) -> list[tuple[str, _Group]]:
    """Stratify groups by their labels."""
    groups = sorted(groups, key=lambda group: group.rank)
    if any(group.named for group in groups):
        return _share_out_named_groups(groups, shares)
    sizes = Counter(label for group in groups for label in group.labels)
    _refuse_small_classes(sizes, len(shares))
    if all(len(group.labels) == 1 for group in groups):
        return _share_out_classes(groups, shares)
    return _share_out_label_sets(groups, sizes, shares)


def _keep_named_groups_together(
    given: Sequence[tuple[str, _Group]], free: Sequence[_Group]
) -> tuple[list[tuple[str, _Group]], list[_Group]]:
    """Give images the split of the images of their group that have one.

    Raises:
        DatasetError: If the source itself puts a group into two splits.
    """
    split_of: dict[str, str] = {}
    for split, group in given:
        for name in group.named:
            if split_of.setdefault(name, split) != split:
                raise DatasetError(
                    f"the images of group {name!r} are in {split_of[name]} and in {split}, as the source names the "
                    "splits; correct them, or leave out group_by to keep them"
                )
    kept = list(given)
    rest = []
    for group in free:
        splits = sorted({split_of[name] for name in group.named if name in split_of}, key=SPLIT_NAMES.index)
        if splits:
            kept.append((splits[-1], group))
        else:
            rest.append(group)
    return kept, rest


def _share_out_named_groups(groups: Sequence[_Group], shares: Mapping[str, Fraction]) -> list[tuple[str, _Group]]:
    """Share out clusters of images that must stay together: each to the split that lacks most of its labels."""
    clusters = _join_named_groups(groups)
    labels_of_clusters = [{label for group in cluster for label in group.labels} for cluster in clusters]
    counted = Counter(label for labels in labels_of_clusters for label in labels)
    _refuse_small_classes(counted, len(shares), "groups of images")
    sizes = Counter(label for group in groups for label in group.labels)
    lacking = {(label, split): Fraction(1) for label in sizes for split in shares}
    assigned = []
    for cluster in clusters:
        counts = Counter(label for group in cluster for label in group.labels)
        split = max(shares, key=lambda name: sum(count * lacking[label, name] for label, count in counts.items()))
        assigned += [(split, group) for group in cluster]
        for label, count in counts.items():
            lacking[label, split] -= count / (sizes[label] * shares[split])
    return assigned


def _join_named_groups(groups: Sequence[_Group]) -> list[list[_Group]]:
    """Clusters of groups that share a name, directly or by others, in the order of the lot."""
    cluster_of: dict[str, list[_Group]] = {}
    clusters: list[list[_Group]] = []
    for group in groups:
        joined = [group]
        for other in {id(cluster_of[name]): cluster_of[name] for name in group.named if name in cluster_of}.values():
            joined += other
            clusters = [cluster for cluster in clusters if cluster is not other]
        clusters.append(joined)
        cluster_of.update({name: joined for member in joined for name in member.named})
    return sorted(clusters, key=lambda cluster: min(group.rank for group in cluster))


def _refuse_small_classes(sizes: Mapping[str, int], splits: int, what: str = "images") -> None:
    small = [f"{name} ({count})" for name, count in sorted(sizes.items()) if count < splits]
    if small:
        raise DatasetError(
            f"{len(small)} class(es) are too small to be in each of {splits} splits, which takes {splits} different "
            f"{what} of each: {', '.join(small)}; add images, remove or merge these classes, or name each image's "
            "split in the source"
        )


def _share_out_classes(groups: Sequence[_Group], shares: Mapping[str, Fraction]) -> list[tuple[str, _Group]]:
    """One label an image: every class by itself, the first of the lot held out."""
    by_class: dict[tuple[str, ...], list[_Group]] = defaultdict(list)
    for group in groups:
        by_class[group.labels].append(group)
    assigned = []
    for members in by_class.values():
        counts = count_by_split(len(members), shares)
        order = [split for split in reversed(SPLIT_NAMES) for _ in range(counts.get(split, 0))]
        assigned += list(zip(order, members, strict=True))
    return assigned


def _share_out_label_sets(
    groups: Sequence[_Group], sizes: Mapping[str, int], shares: Mapping[str, Fraction]
) -> list[tuple[str, _Group]]:
    """Several labels an image: iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011).

    The images of the rarest label go first, each to the split that still wants that label most.
    """
    wanted = {label: count_by_split(size, shares) for label, size in sizes.items()}
    wanted_images = count_by_split(max(len(groups), len(shares)), shares)
    remaining = dict(sizes)
    waiting = dict(enumerate(groups))
    by_label: dict[str, list[int]] = defaultdict(list)
    for position, group in waiting.items():
        for label in group.labels:
            by_label[label].append(position)
    assigned = []

    def assign(position: int, label: str | None) -> None:
        group = waiting.pop(position)
        first = wanted_images if label is None else wanted[label]
        split = max(shares, key=lambda name: (first[name], wanted_images[name]))
        assigned.append((split, group))
        wanted_images[split] -= 1
        for other in group.labels:
            wanted[other][split] -= 1
            remaining[other] -= 1

    while rest := [label for label, count in remaining.items() if count > 0]:
        rarest = min(rest, key=lambda label: (remaining[label], label))
        for position in by_label[rarest]:
            if position in waiting:
                assign(position, rarest)
    for position in list(waiting):
        assign(position, None)
    return assigned


def count_by_split(count: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """How many of ``count`` go to each split: the nearest number, but at least one.

    Args:
        count: Not less than the number of splits.
        shares: Fraction of each split.
    """
    counts = {name: max(1, int(count * share + Fraction(1, 2))) for name, share in shares.items() if name != "train"}
    while count - sum(counts.values()) < 1:
        counts[max(counts, key=lambda name: counts[name])] -= 1
    return {"train": count - sum(counts.values()), **counts}
