"""Errors of Python and the system become errors of the family, with a code and a way out."""

import errno
import os
import socket
from pathlib import Path

import pytest

from kfp_image_tuning.core.errors import DatasetError, ImageTuningError
from kfp_image_tuning.core.foreign_errors import as_own_error


def undecodable() -> str:
    return b"\xff".decode()


@pytest.mark.parametrize(
    ("cause", "code", "told"),
    [
        (lambda: Path("/nowhere/x").read_text(), "file", "/nowhere/x: is not there"),
        (lambda: Path("/proc/version/x").mkdir(), "file", "/proc/version/x: a part of this path is a file"),
        (lambda: Path("/").read_bytes(), "file", "/: is a folder"),
        (lambda: Path("x" * 300).read_bytes(), "file", "too long a name"),
        (lambda: os.open(b"/nowhere/\x1b\n", 0), "file", r"/nowhere/\x1b\n: is not there"),
        (lambda: socket.create_connection(("127.0.0.1", 9), 5), "network", "Connection refused"),
        (lambda: socket.getaddrinfo("nowhere.invalid", 80), "network", "check address"),
        (undecodable, "encoding", "save it as UTF-8"),
        (lambda: "a\udcff".encode(), "encoding", r"a\udcff: cannot be written"),
        (lambda: __import__("a_package_that_nobody_has"), "environment", "a_package_that_nobody_has"),
        (lambda: __import__("kfp_image_tuning.nothing"), "unexpected", "Please report it"),
        (lambda: 1 / 0, "unexpected", "ZeroDivisionError"),
        (lambda: os.close(9999), "unexpected", "Bad file descriptor"),
    ],
)
def test_each_cause_has_its_code(cause: object, code: str, told: str) -> None:
    with pytest.raises(Exception) as caught:
        cause()  # type: ignore[operator]
    own = as_own_error(caught.value)
    assert (own.code, told in str(own)) == (code, True), str(own)


def test_rights_and_space() -> None:
    assert as_own_error(PermissionError(errno.EACCES, "", "/x")).code == "file"
    assert as_own_error(OSError(errno.ENOSPC, "", "/x")).code == "disk"


def test_errors_of_the_family_stay_as_they_are() -> None:
    error: ImageTuningError = DatasetError("x")
    assert as_own_error(error) is error
