"""The words by which people name splits: of folders, of files, in a table's column."""

import re
from collections.abc import Iterable
from functools import lru_cache

_WORDS = {
    "train": ("train", "training", "trn", "trainval"),
    "validation": ("validation", "valid", "val", "validate", "dev", "eval", "evaluation"),
    "test": ("test", "testing", "tst", "holdout"),
}
SPLIT_WORDS = {word: split for split, words in _WORDS.items() for word in words}

# Words that stand beside the split in a name and say nothing of their own: seg_train, Training set, Test_Data.
_FILLERS = frozenset(
    re.findall(
        r"\w+",
        "set sets data dataset datasets image images img imgs pic pics picture pictures photo photos split folder dir "
        "file files seg cropped crop resized final new all full labeled labelled sorted public private part",
    )
)
_ENDINGS = ("set", "data", "images", "imgs", "dir")

ASIDE_WORDS = frozenset(
    re.findall(
        r"\w+",
        "pred prediction predictions predict unlabeled unlabelled unsup unsupervised sample samples example examples "
        "doc docs documentation screenshot screenshots figure figures fig figs asset assets groundtruth truth "
        "annotation annotations anno mask masks meta metadata readme preview previews demo misc tmp temp src code "
        "notebook notebooks script scripts result results output outputs logs",
    )
)


def words_of(name: str) -> list[str]:
    """``Train_Data2`` into train, data, 2: lower case, cut at changes of case, digits and signs."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+", name)]


@lru_cache(maxsize=4096)
def split_of(name: str, shared: frozenset[str] = frozenset()) -> str | None:
    """The split that a folder, a file or a cell is named after; None for any other name.

    Args:
        name: Such as ``seg_train``, ``Training set``, ``test1``.
        shared: Words that the names beside it have too, and which therefore say nothing.
    """
    words = words_of(name)
    splits = {split for word in words if (split := _split_of_word(word))}
    others = [word for word in words if not _split_of_word(word)]
    if len(splits) != 1 or any(word not in _FILLERS and word not in shared and not word.isdecimal() for word in others):
        return None
    return splits.pop()


def _split_of_word(word: str) -> str | None:
    if word in SPLIT_WORDS:
        return SPLIT_WORDS[word]
    return next(
        (SPLIT_WORDS[word.removesuffix(end)] for end in _ENDINGS if word.removesuffix(end) in SPLIT_WORDS), None
    )


def splits_among(names: Iterable[str]) -> dict[str, str]:
    """Those of some names beside each other that name splits."""
    names = list(names)
    candidates = [set(words_of(name)) for name in names if any(map(_split_of_word, words_of(name)))]
    shared = frozenset(set.intersection(*candidates)) if len(candidates) > 1 else frozenset()
    # What all of them share cannot tell them apart: freight_train and bullet_train are classes.
    shared -= {word for word in shared if _split_of_word(word)}
    return {name: split for name in names if (split := split_of(name, shared))}


def says_nothing(name: str) -> bool:
    """Whether a folder's name says no more than that there are files in it: images, data, all."""
    words = words_of(name)
    return bool(words) and all(word in _FILLERS for word in words)


def is_aside(name: str) -> bool:
    """Whether a folder's name says that it holds no labelled images: docs, samples, unlabeled."""
    words = words_of(name)
    return any(word in ASIDE_WORDS for word in words) and all(
        word in ASIDE_WORDS | _FILLERS | {"ground"} or word.isdecimal() for word in words
    )


def split_named_in(name: str) -> str | None:
    """The split that a data file's path names: ``data/train-00000-of-00002.parquet``, ``caltech_val.rec``."""
    stem = name.rpartition(".")[0] if "." in name.rpartition("/")[2] else name
    named = [SPLIT_WORDS[word] for word in words_of(stem) if word in SPLIT_WORDS]
    return named[-1] if named else None
