"""The types of the Python functions' options are as the options are declared."""

from tools.python_options import PATH, python_options


def test_the_file_is_fresh() -> None:
    assert PATH.read_text(encoding="utf-8") == python_options(), "run `make generate` and commit the changes"
