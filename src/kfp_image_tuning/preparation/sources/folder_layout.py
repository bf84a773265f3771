"""What folders say about the class and the split of the images in them.

Understood, with any folders above (``photos.zip`` often holds one folder ``photos``) and any below the class::

    cat/1.jpg            cat/outdoors/2.JPEG            train/cat/1.jpg  val/cat/2.jpg  test/dog/3.jpg
    cat/train/1.jpg      seg_train/seg_train/cat/1.jpg  a/abbey/1.jpg (a folder for each initial)

Where two readings are plausible, both are said, with the option that chooses.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kfp_image_tuning.core.errors import DatasetError
from kfp_image_tuning.dataset.document import SPLIT_NAMES, SkippedImage
from kfp_image_tuning.preparation.sources.image_reference import ImageReference
from kfp_image_tuning.preparation.sources.reading import Findings, Reading, enumerate_names
from kfp_image_tuning.preparation.sources.split_words import is_aside, says_nothing, splits_among

_FOLD = re.compile(r"(fold|cv|kfold)[ _-]*\d+", re.IGNORECASE)
_NUMBER_OR_DATE = re.compile(r"[\d ._-]+")
NO_CLASS_FOLDER = "is in no class folder"


@dataclass
class Folder:
    """A folder with images in it or below.

    Attributes:
        path: Relative to the source.
        images: Number of images right in it.
        folders: Its folders by name.
    """

    path: str
    images: int = 0
    folders: dict[str, "Folder"] = field(default_factory=dict)

    def walk(self) -> "Iterator[Folder]":
        """It and all folders below."""
        yield self
        for child in self.folders.values():
            yield from child.walk()

    def count(self) -> int:
        """Images in it and below."""
        return sum(folder.images for folder in self.walk())

    @property
    def holds_classes(self) -> bool:
        """Whether it looks like a folder of class folders: no images of its own, several folders."""
        return not self.images and len(self.folders) > 1


@dataclass(frozen=True)
class Layout:
    """The meaning of folders.

    Attributes:
        meaning: Path of a folder to the class and the split of the images right in it.
        aside: Folders that are left aside, with all below them.
    """

    meaning: Mapping[str, tuple[str, str | None]]
    aside: frozenset[str]


def label_by_folder(
    references: Sequence[ImageReference], reading: Reading, findings: Findings, place: str
) -> list[ImageReference]:
    """Give each image the class, and the split if there is one, that its folders name.

    Args:
        references: Images without labels, names relative to the source.
        reading: What the user says of the folders.
        findings: Gets the images that are in no class folder, and what was decided.
        place: The source, for messages.

    Raises:
        DatasetError: If there are no images or no class folders, or two readings are plausible.
    """
    if not references:
        raise DatasetError(
            f"{place}: holds no images (JPEG, PNG, WebP, BMP, TIFF or GIF, known by the ending of their names); "
            "give a folder of class folders, an archive of one, a CSV, a Parquet file or .rec files"
        )
    parents = [reference.name.rpartition("/")[0] for reference in references]
    layout = _Understanding(make_tree(Counter(parents)), reading, findings, place).layout()
    labelled = []
    for reference, parent in zip(references, parents, strict=True):
        if parent in layout.meaning:
            label, split = layout.meaning[parent]
            labelled.append(replace(reference, labels=(label,), split=split))
        elif parent not in layout.aside:
            findings.skipped.append(SkippedImage(reference.name, NO_CLASS_FOLDER))
    if not labelled:
        raise DatasetError(
            f"{place}: its images are in no class folders; put the images of each class into a folder with the class's "
            "name, or give a CSV with path and label"
        )
    return labelled


def has_split_folders(names: Sequence[str]) -> bool:
    """Whether any folder on the way to images is named like a split."""
    return any(splits_among([part]) for path in {name.rpartition("/")[0] for name in names} for part in path.split("/"))


def has_class_folders(names: Sequence[str]) -> bool:
    """Whether images are in several folders beside each other that are not the splits alone."""
    tree = make_tree(Counter(name.rpartition("/")[0] for name in names))
    while len(tree.folders) == 1 and not tree.images:
        tree = next(iter(tree.folders.values()))
    if splits_among(tree.folders):
        return any(child.folders for child in tree.folders.values())
    return len([name for name in tree.folders if not is_aside(name)]) > 1


def make_tree(folders: Mapping[str, int]) -> Folder:
    """The tree of folders, from the number of images right in each."""
    root = Folder("")
    for path in sorted(folders):
        node = root
        for part in path.split("/") if path else []:
            child = f"{node.path}/{part}" if node.path else part
            node = node.folders.setdefault(part, Folder(child))
        node.images += folders[path]
    return root


class _Understanding:
    """Finds out what folders mean."""

    def __init__(self, root: Folder, reading: Reading, findings: Findings, place: str) -> None:
        self._root = root
        self._reading = reading
        self._findings = findings
        self._place = place
        self._aside: set[str] = set()

    def layout(self) -> Layout:
        if self._reading.splits:
            parts = [(split, self._find(folder, "splits")) for split, folder in self._reading.splits]
            self._leave_others_aside([folder for _, folder in parts], "splits")
            return self._with_splits(parts)
        if self._reading.classes_from not in (None, "top", "leaf"):
            folder = self._find(str(self._reading.classes_from), "classes_from")
            self._leave_others_aside([folder], "classes_from")
            return self._classes_of([(None, folder)])
        top = self._unwrap(self._root)
        if parts := self._splits(top):
            return self._with_splits(parts)
        self._refuse_folds(top)
        if self._has_splits_below_classes(top):
            return self._splits_below_classes(top)
        return self._classes_of([(None, top)])

    def _find(self, path: str, option: str) -> Folder:
        """The folder that an option names, relative to the source or below what wraps everything."""
        for start in (self._root, self._unwrap(self._root)):
            node: Folder | None = start
            for part in path.split("/"):
                node = node.folders.get(part) if node and part not in ("", ".") else node
            if node is not None:
                return node
        raise DatasetError(
            f"{option}: {self._place} has no folder {path!r} with images; it has "
            f"{enumerate_names([folder.path or '.' for folder in self._root.walk()], 20)}"
        )

    def _leave_others_aside(self, wanted: Sequence[Folder], option: str) -> None:
        inside = {folder.path for chosen in wanted for folder in chosen.walk()}
        for folder in self._root.walk():
            if folder.path not in inside and folder.images:
                self._leave_aside(Folder(folder.path, folder.images), f"not among the folders that {option} names")

    def _leave_aside(self, folder: Folder, reason: str) -> None:
        self._findings.notes.append(SkippedImage(folder.path or ".", f"{folder.count():,} images: {reason}"))
        self._aside.update(child.path for child in folder.walk())

    def _unwrap(self, node: Folder) -> Folder:
        """The folder below those that wrap all the class folders; files beside the wrapping folders do not count."""
        while True:
            inner = dict(node.folders)
            strays = [child for name, child in inner.items() if is_aside(name)]
            if len(inner) - len(strays) == 1 and strays:
                # docs/ beside photos/ with class folders: photos/ is the source.
                inner = {name: child for name, child in inner.items() if child not in strays}
                if not next(iter(inner.values())).holds_classes:
                    return node
            if len(inner) != 1:
                return node
            child = next(iter(inner.values()))
            if len(child.folders) < 1 + (child.images > 0):
                return node
            if len(inner) < len(node.folders):
                for stray in strays:
                    self._leave_aside(stray, f"beside the class folders in {child.path}, and named like none")
            node = child

    def _splits(self, top: Folder) -> list[tuple[str, Folder]]:
        """The split folders, if the folders are splits and no classes."""
        named = splits_among(top.folders)
        labelled = {name: split for name, split in named.items() if _holds_class_folders(top.folders[name])}
        others = [child for name, child in top.folders.items() if name not in labelled]
        strays = [child for child in others if child.path.rpartition("/")[2] not in named]
        unknown = [child for child in strays if not is_aside(child.path.rpartition("/")[2])]
        if not labelled:
            if len(named) > 1 and not unknown:
                raise DatasetError(
                    f"{self._place}: {enumerate_names(list(named))} are splits, but hold no class folders, so the "
                    "images have no labels; put them into class folders, or give the table that labels them as --data"
                )
            return []
        if len(labelled) == 1 and (unknown or not others):
            # A class may be called train, and a data set may have one folder of that name.
            return []
        if "train" not in labelled.values():
            if unknown:
                return []
            raise DatasetError(
                f"{self._place}: has {enumerate_names(list(labelled))} but no training images; add a folder train, or "
                f"say what the folders are: --splits 'train={next(iter(labelled))}' takes one of them for training"
            )
        labelled = dict(sorted(labelled.items(), key=lambda item: SPLIT_NAMES.index(item[1])))
        deep = [child for child in unknown if child.folders]
        if deep:
            raise DatasetError(
                f"{self._place}: {enumerate_names(list(labelled))} are splits, but what is "
                f"{enumerate_names([child.path for child in deep])}? Say which folders to read: "
                f"--splits '{','.join(f'{split}={top.folders[name].path}' for name, split in labelled.items())}'"
            )
        for child in others:
            what = "named like a split, but without class folders, so without labels"
            self._leave_aside(child, what if child not in strays else "beside the splits, without class folders")
        return [(split, top.folders[name]) for name, split in labelled.items()]

    def _with_splits(self, parts: Sequence[tuple[str, Folder]]) -> Layout:
        for split, folder in parts:
            self._findings.name_split(split, folder.path)
        return self._classes_of(list(zip([split for split, _ in parts], _unwrap_splits(parts), strict=True)))

    def _refuse_folds(self, top: Folder) -> None:
        if len(top.folders) > 1 and all(_FOLD.fullmatch(name) for name in top.folders):
            *training, last = sorted(top.folders)
            example = ",".join([*(f"train={name}" for name in training), f"test={last}"])
            raise DatasetError(
                f"{self._place}: {enumerate_names(list(top.folders))} are folds, not classes; say which are what: "
                f"--splits '{example}'"
            )

    def _has_splits_below_classes(self, top: Folder) -> bool:
        children = [child for child in top.folders.values() if child.folders]
        split_like = [child for child in children if "train" in splits_among(child.folders).values()]
        if not split_like or self._reading.classes_from == "top":
            return False
        odd = [
            child.path
            for child in top.folders.values()
            if child.images or len(splits_among(child.folders)) < len(child.folders)
        ]
        if odd:
            raise DatasetError(
                f"{self._place}: {enumerate_names([child.path for child in split_like])} hold splits, but "
                f"{enumerate_names(odd)} {'holds' if len(odd) == 1 else 'hold'} other images too; put every image of a "
                "class into one of its splits, or ignore those splits with --classes-from top"
            )
        return True

    def _splits_below_classes(self, top: Folder) -> Layout:
        meaning: dict[str, tuple[str, str | None]] = {}
        for name, child in top.folders.items():
            for part, split in splits_among(child.folders).items():
                self._findings.name_split(split, f"{top.path}/*/{part}".lstrip("/"))
                for folder in child.folders[part].walk():
                    meaning[folder.path] = name, split
        self._findings.decide("the splits are below the classes")
        return Layout(meaning, frozenset(self._aside))

    def _classes_of(self, parts: Sequence[tuple[str | None, Folder]]) -> Layout:
        """Label the folders below some folders, which are the splits or the source."""
        level = self._choose_level([folder for _, folder in parts])
        meaning: dict[str, tuple[str, str | None]] = {}
        for split, part in parts:
            for name, child in part.folders.items():
                for folder in child.walk():
                    if folder.path not in self._aside:
                        label = name
                        if level == "leaf":
                            label = folder.path.rpartition("/")[2]
                        elif level == "below initials" and folder is not child:
                            label = folder.path.removeprefix(child.path + "/")
                        meaning[folder.path] = label, split
        return Layout(meaning, frozenset(self._aside))

    def _choose_level(self, parts: Sequence[Folder]) -> str:
        """Which of nested folders names the class."""
        if self._reading.classes_from in ("top", "leaf"):
            return str(self._reading.classes_from)
        tops = [
            (name, child) for part in parts for name, child in part.folders.items() if child.path not in self._aside
        ]
        outer = [(name, child) for name, child in tops if child.holds_classes]
        if not outer:
            return "top"
        inner = {name for _, child in outer for name in child.folders}
        if all(len(name) == 1 and not child.images for name, child in tops) and all(
            part[:1].lower() == name.lower() for name, child in tops for part in child.folders
        ):
            self._findings.decide("the outer folders are initials, the folders below them are the classes")
            return "below initials"
        names = sorted({name for name, _ in tops})
        if all(_NUMBER_OR_DATE.fullmatch(name) for name in inner):
            self._findings.decide(
                f"the outer folders are the classes; those below ({enumerate_names(list(inner))}) not"
            )
            return "top"
        leaves = sorted(
            {folder.path.rpartition("/")[2] for _, child in tops for folder in child.walk() if folder.images}
        )
        path = outer[0][1].path
        raise DatasetError(
            f"{self._place}: the folders can be read in two ways: as {len(names):,} classes by the outer folders "
            f"({enumerate_names(names)}), or as {len(leaves):,} by the inner ones ({enumerate_names(leaves)}); say "
            "which with --classes-from top or --classes-from leaf"
            + (f", or --classes-from {path} if only its folders are classes" if len(outer) == 1 else "")
        )


def _holds_class_folders(folder: Folder) -> bool:
    """Whether there are folders in it other than one that only wraps its images: ``test/test``, ``val/images``."""
    if len(folder.folders) != 1 or folder.images:
        return bool(folder.folders)
    (name, child), *_ = folder.folders.items()
    own = folder.path.rpartition("/")[2]
    return bool(child.folders) or not (name.lower() == own.lower() or says_nothing(name) or splits_among([name]))


def _unwrap_splits(parts: Sequence[tuple[str, Folder]]) -> list[Folder]:
    """The folders that hold the classes, where a split's folder holds one more of its kind: seg_train/seg_train."""
    folders = [folder for _, folder in parts]
    while all(_has_one_folder_of_folders(folder) for folder in folders):
        folders = [next(iter(folder.folders.values())) for folder in folders]
    return [
        next(iter(folder.folders.values()))
        if _has_one_folder_of_folders(folder) and splits_among(folder.folders).get(next(iter(folder.folders))) == split
        else folder
        for (split, _), folder in zip(parts, folders, strict=True)
    ]


def _has_one_folder_of_folders(folder: Folder) -> bool:
    return not folder.images and len(folder.folders) == 1 and bool(next(iter(folder.folders.values())).folders)
