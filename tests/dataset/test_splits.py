from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.splits import LabelledImage, SplitPlan, plan_splits

FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def images_of(counts: dict[str, int]) -> list[LabelledImage]:
    return [
        LabelledImage(f"{name}/{number}", (name,), f"{name}/{number}".encode())
        for name, count in counts.items()
        for number in range(count)
    ]


def named(images: list[LabelledImage], plan: SplitPlan) -> dict[str, str | None]:
    return {image.name: split for image, split in zip(images, plan.split_of, strict=True)}


classes = st.dictionaries(st.sampled_from("abcdef"), st.integers(3, 60), min_size=2)
fractions = st.tuples(st.integers(1, 18), st.integers(1, 18), st.integers(1, 18)).map(
    lambda parts: dict(zip(FRACTIONS, (part / sum(parts) for part in parts), strict=True))
)


@given(classes, fractions, st.integers(-5, 5))
@settings(max_examples=60, deadline=None)
def test_every_class_is_in_every_split_by_the_fractions(
    counts: dict[str, int], shares: dict[str, float], seed: int
) -> None:
    images = images_of(counts)
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for name, split in named(images, plan_splits(images, shares, seed)).items():
        assert split is not None
        found[name.split("/")[0]][split] += 1
    for name, count in counts.items():
        assert sum(found[name].values()) == count
        for split, share in shares.items():
            assert found[name][split] >= 1
            # Rounding takes at most half an image from each held-out split, and at least one image is everywhere.
            assert abs(found[name][split] - count * share) <= 2


@given(classes, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_order_of_files_does_not_matter(counts: dict[str, int], random: object) -> None:
    images = images_of(counts)
    shuffled = list(images)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert named(images, plan_splits(images, FRACTIONS, 3)) == named(shuffled, plan_splits(shuffled, FRACTIONS, 3))


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["train", "validation", "test", None])), min_size=30))
@settings(max_examples=60, deadline=None)
def test_copies_never_cross_a_split(drawn: list[tuple[int, str | None]]) -> None:
    images = images_of({"a": 8, "b": 8})
    images += [
        LabelledImage(f"copy/{number}", ("ab"[content % 2],), b"content %d" % content, split)
        for number, (content, split) in enumerate(drawn)
    ]
    images += [LabelledImage(f"given/{split}", ("a",), split.encode(), split) for split in FRACTIONS]
    plan = plan_splits(images, FRACTIONS, 0)
    splits_of = defaultdict(set)
    for image, split in zip(images, plan.split_of, strict=True):
        if split:
            splits_of[image.content].add(split)
            assert image.given_split in (None, split)
    assert all(len(splits) == 1 for splits in splits_of.values())
    skipped = {item.image for item in plan.skipped}
    assert {image.name for image, split in zip(images, plan.split_of, strict=True) if split is None} == skipped


@given(st.lists(st.sets(st.sampled_from("abcde"), max_size=3), min_size=40, max_size=120), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_several_labels_are_spread_by_the_fractions(label_sets: list[set[str]], seed: int) -> None:
    images = [LabelledImage(f"image {n}", tuple(sorted(s)), b"%d" % n) for n, s in enumerate(label_sets)]
    images += [LabelledImage(f"more {n}{c}", (c,), f"{n}{c}".encode()) for n in range(12) for c in "abcde"]
    plan = plan_splits(images, FRACTIONS, seed)
    assert None not in plan.split_of
    for label in "abcde":
        counts = Counter(s for image, s in zip(images, plan.split_of, strict=True) if label in image.labels)
        total = sum(counts.values())
        assert counts["train"] >= 0.6 * total
        assert counts["validation"] >= 1
        assert counts["test"] >= 1


def test_equal_pixels_with_different_labels_are_all_left_out() -> None:
    images = images_of({"a": 5, "b": 5})
    images += [
        LabelledImage("x", ("a",), b"same"),
        LabelledImage("y", ("b",), b"same"),
        LabelledImage("z", ("a",), b"same"),
    ]
    plan = plan_splits(images, FRACTIONS, 0)
    assert plan.split_of[-3:] == (None, None, None)
    assert [(c.images, c.classes) for c in plan.label_conflicts] == [(("x", "y", "z"), (("a",), ("b",), ("a",)))]
    assert plan.duplicates == ()


def test_copies_are_reported_with_their_split() -> None:
    images = [*images_of({"a": 5, "b": 5}), LabelledImage("x", ("a",), b"a/0")]
    plan = plan_splits(images, FRACTIONS, 0)
    [group] = plan.duplicates
    assert group.images == ("a/0", "x")
    assert group.split == named(images, plan)["x"]


def test_given_splits_stay_and_missing_ones_are_cut_from_training() -> None:
    images = [
        LabelledImage(f"{name}{n}", (name,), f"{name}{n}".encode(), "validation" if n < 5 else "train")
        for name in "ab"
        for n in range(25)
    ]
    plan = plan_splits(images, FRACTIONS, 0)
    for image, split in zip(images, plan.split_of, strict=True):
        assert split == "validation" if image.given_split == "validation" else split in ("train", "test")
    # 0.1 of 0.9: 20 training images a class give two test images.
    assert Counter(plan.split_of) == {"train": 36, "validation": 10, "test": 4}


def test_copy_of_a_test_image_is_left_out_of_training() -> None:
    images = [
        LabelledImage(f"{name}{n}{split}", (name,), f"{name}{n}{split}".encode(), split)
        for name in "ab"
        for n in range(3)
        for split in FRACTIONS
    ]
    images.append(LabelledImage("leak", ("a",), b"a0test", "train"))
    plan = plan_splits(images, FRACTIONS, 0)
    assert plan.split_of[-1] is None
    assert [(item.image, "same pixels as a0test in the test images" in item.reason) for item in plan.skipped] == [
        ("leak", True)
    ]


@pytest.mark.parametrize(
    ("images", "shares", "message"),
    [
        (images_of({"a": 2, "b": 9, "c": 1}), FRACTIONS, r"2 class\(es\) are too small.*a \(2\), c \(1\).*add images"),
        (images_of({"a": 9}), {"train": 0.8, "validation": 0.3, "test": 0.1}, "adding up to 1"),
        (images_of({"a": 9}), {"train": 0.9, "validation": 0.1, "test": 0.0}, "above 0"),
        (images_of({"a": 9}), {"train": 0.9, "test": 0.1}, "one number above 0 for each of"),
        ([LabelledImage("x", ("a",), b"x", "test")], FRACTIONS, "no training images"),
        (
            [*images_of({"b": 5}), LabelledImage("x", ("a",), b"b/0")],
            FRACTIONS,
            r"class\(es\) a: every image has the same pixels as an image of another class",
        ),
    ],
)
def test_impossible_splits_say_what_to_do(images: list[LabelledImage], shares: dict[str, float], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        plan_splits(images, shares, 0)
