"""What Python and the system complain of, told as errors of our own: one message and the way out."""

import errno
import re
import socket
import ssl
import sys
import traceback
from importlib.metadata import PackageNotFoundError, requires, version

from kfp_image_tuning.core.console import printable_name
from kfp_image_tuning.core.errors import (
    DefectError,
    DiskError,
    EncodingError,
    EnvironmentLackError,
    FileError,
    ImageTuningError,
    MemoryLackError,
    NetworkError,
)
from kfp_image_tuning.core.installed_code import DISTRIBUTION

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NETWORK = (errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT)
_NETWORK_ERRORS = (ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)
_FILE = {
    errno.EACCES: "you may not use this place (permission denied); change its permissions, or give another",
    errno.EPERM: "you may not use this place (not permitted); change its permissions, or give another",
    errno.EROFS: "is on a file system that can only be read; give another place",
    errno.ENOENT: "is not there, or the folder that it belongs in is not; check the path",
    errno.ENOTDIR: "a part of this path is a file, not a folder; check the path",
    errno.EEXIST: "is there already, and is not a folder; give another path",
    errno.EISDIR: "is a folder, and a file is needed; check the path",
    errno.ENOTEMPTY: "is a folder that is not empty; give another path",
    errno.ENAMETOOLONG: "is too long a name for this file system; give a shorter one",
    errno.ELOOP: "its symbolic links lead in a circle; check the path",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine; end other programs",
    errno.EIO: "the disk, or the server that it is on, fails to read or write it; check that, then try again",
}
"""What the system says of a file, and the way out."""


def as_own_error(error: BaseException) -> ImageTuningError:
    """Tell an error as one of the family.

    Args:
        error: Any. One of the family stays as it is.

    Returns:
        `DefectError` for what can only be a defect of ours; whoever shows that shows the traceback too.
    """
    if isinstance(error, ImageTuningError):
        return error
    if isinstance(error, ImportError):
        return _explain_import(error)
    if isinstance(error, MemoryError):
        return MemoryLackError(
            "the memory ran out; give this step more, or try smaller images or fewer trials at a time"
        )
    if isinstance(error, UnicodeDecodeError):
        return EncodingError(f"a file is not {error.encoding} text ({error.reason}); save it as UTF-8")
    if isinstance(error, UnicodeEncodeError):
        return EncodingError(
            f"{printable_name(error.object)[:200]}: cannot be written as {error.encoding}; rename what holds this name"
        )
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return _explain_system(error)
    return _explain_defect(error)


def _explain_system(error: OSError) -> ImageTuningError:
    names = [printable_name(name) for name in (error.filename, error.filename2) if name and not isinstance(name, int)]
    place = ", ".join(names)
    if error.errno in _NO_SPACE:
        return DiskError(f"{place or 'the disk'}: no space is left; make room, or give a place (a volume) with more")
    if isinstance(error, _NETWORK_ERRORS) or error.errno in _NETWORK:
        return NetworkError(
            f"{place or 'the network'}: {_words(error)}; check address, network and proxy, then try again"
        )
    if error.errno in _FILE and (place or error.errno in (errno.EMFILE, errno.ENFILE, errno.EIO)):
        return FileError(f"{place or 'files'}: {_FILE[error.errno]}")
    if place:
        return FileError(f"{place}: {_words(error)}; check the path, or give another")
    return _explain_defect(error)


def _words(error: OSError) -> str:
    return str(error.strerror or (error.args[-1] if error.args else type(error).__name__))


def _explain_import(error: ImportError) -> ImageTuningError:
    package = (error.name or "").partition(".")[0]
    if package in ("", __package__.partition(".")[0]):
        return _explain_defect(error)
    if not isinstance(error, ModuleNotFoundError):
        return EnvironmentLackError(f"{package}: cannot be loaded ({error}); install it again, or what it needs")
    extra = _extra_of(package)
    way_out = (
        f"pip install '{DISTRIBUTION}[{extra}]'"
        if extra
        else f"with an image of your own, build it with {DISTRIBUTION} and all that its extras need; in another pod, "
        "compile the pipeline again with this release"
    )
    return EnvironmentLackError(f"{package}: this environment lacks the package; {way_out}")


def _extra_of(package: str) -> str:
    """The first extra of `setup.cfg` that brings a package; empty: none, or nobody knows."""
    try:
        declared = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return ""
    for requirement in declared:
        name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
        extra = re.search(r"""extra\s*==\s*["']([\w-]+)["']""", requirement)
        if extra and name.replace("-", "_").lower() == package.lower():
            return extra[1]
    return ""


def _explain_defect(error: BaseException) -> DefectError:
    try:
        release = version(DISTRIBUTION)
    except PackageNotFoundError:
        release = "of an unknown version"
    told = "".join(traceback.format_exception_only(error)).strip()
    return DefectError(
        f"{told}\nThis is a defect of {DISTRIBUTION}, not of your images or parameters. Please report it with the "
        f"traceback above and these facts: {DISTRIBUTION} {release}, Python {sys.version.split()[0]}."
    )
