"""One name for each class: spellings, case twins, merging, leaving out, and the order of the classes."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from kfp_image_tuning.core.errors import DatasetError, EncodingError
from kfp_image_tuning.dataset.document import SkippedImage
from kfp_image_tuning.preparation.sources.image_reference import ImageReference
from kfp_image_tuning.preparation.sources.reading import Findings, Reading, enumerate_names, natural_key


def settle_class_names(
    references: Sequence[ImageReference], reading: Reading, findings: Findings, place: str
) -> list[ImageReference]:
    """Give every class one name, and keep the classes that are wanted.

    Args:
        references: Labelled images.
        reading: Which classes to merge and keep.
        findings: Gets what was decided.
        place: The source, for messages.

    Raises:
        DatasetError: If names differ by capitals alone, or a class that is named in the options is not there.
        EncodingError: If a name is not UTF-8.
    """
    found = {label for reference in references for label in reference.labels}
    names = _spell(found, findings, place)
    merge = dict(reading.merge)
    _refuse_unknown(merge, set(names.values()), "merge", place)
    names = {label: merge.get(name, name) for label, name in names.items()}
    if merge:
        findings.decide(f"merged classes: {', '.join(f'{old} into {new}' for old, new in reading.merge)}")
    _refuse_case_twins(set(names.values()), reading, place)
    if any(label != name for label, name in names.items()):
        references = [
            replace(reference, labels=tuple(sorted({names[label] for label in reference.labels})))
            for reference in references
        ]
        findings.class_numbers.update(
            {names[label]: number for label, number in findings.class_numbers.items() if label in names}
        )
    if reading.classes is None:
        return list(references)
    _refuse_unknown(reading.classes, set(names.values()), "classes", place)
    return _keep(references, frozenset(reading.classes), findings)


def order_classes(names: Iterable[str], findings: Findings) -> tuple[str, ...]:
    """Classes in the order of their labels: by the source's numbers, numbers as numbers, else by name."""
    ordered = sorted(names)
    if findings.class_numbers and all(name in findings.class_numbers for name in ordered):
        ordered.sort(key=lambda name: findings.class_numbers[name])
    elif ordered and all(name.isascii() and name.isdecimal() for name in ordered):
        ordered.sort(key=natural_key)
        if len(ordered) > 1 and [name.lstrip("0") or "0" for name in ordered] != list(map(str, range(len(ordered)))):
            findings.decide(
                f"the class numbers {ordered[0]} to {ordered[-1]} become the labels 0 to {len(ordered) - 1}"
            )
    return tuple(ordered)


def _spell(found: Iterable[str], findings: Findings, place: str) -> dict[str, str]:
    """Each name in Unicode's composed form, without blanks around it."""
    names = {}
    spellings = defaultdict(list)
    for label in sorted(found):
        try:
            label.encode("utf-8")
        except UnicodeEncodeError:
            shown = label.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise EncodingError(
                f"{place}: the class name '{shown}' is not UTF-8; rename its folder or save the table as UTF-8"
            ) from None
        names[label] = unicodedata.normalize("NFC", label).strip() or label
        spellings[names[label]].append(label)
    for name, labels in spellings.items():
        if len(labels) > 1:
            findings.decide(f"{len(labels)} spellings of {name!r} (accents, blanks) are one class")
    return names


def _refuse_case_twins(names: set[str], reading: Reading, place: str) -> None:
    twins = defaultdict(list)
    for name in sorted(names):
        twins[name.casefold()].append(name)
    wanted = set(reading.classes or ())
    problems = [
        f"{place}: the classes {' and '.join(group)} differ by capitals only: one class (--merge "
        f"{group[0]}={group[1]}), or different ones "
        f"(--classes with all that you want, {group[0]} and {group[1]} among them)?"
        for group in twins.values()
        if len(group) > 1 and not wanted.issuperset(group)
    ]
    if problems:
        raise DatasetError.from_problems(problems)


def _refuse_unknown(wanted: Iterable[str], found: set[str], option: str, place: str) -> None:
    unknown = sorted(set(wanted) - found)
    if unknown:
        raise DatasetError(
            f"{option}: {place} has no class {enumerate_names(unknown)}; it has {enumerate_names(sorted(found), 20)}"
        )


def _keep(references: Sequence[ImageReference], wanted: frozenset[str], findings: Findings) -> list[ImageReference]:
    kept = []
    dropped: Counter[str] = Counter()
    for reference in references:
        labels = tuple(label for label in reference.labels if label in wanted)
        dropped.update(set(reference.labels) - wanted)
        if labels or not reference.labels:
            kept.append(replace(reference, labels=labels))
    findings.notes += [
        SkippedImage(name, f"{count:,} images of this class, which is not among the wanted ones")
        for name, count in sorted(dropped.items())
    ]
    return kept
