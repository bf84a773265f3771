"""The parser of every command line here: options by their whole names, and a hint at what was meant."""

import argparse
import sys
import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby, takewhile
from typing import Any, NoReturn

from kfp_image_tuning.core.console import printable


class CommandParser(argparse.ArgumentParser):
    """Tells usage errors in two lines: what is wrong, and where to look.

    Abbreviations are off: what ``--trial`` means today would change with the next option.

    Attributes:
        words: What is being parsed.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, "formatter_class": _HelpFormatter, **settings})
        self.words: tuple[str, ...] = ()

    def error(self, message: str) -> NoReturn:
        """End the program with exit code 2.

        Args:
            message: What is wrong.
        """
        message = printable(message)
        self._print_message(f"{self.prog}: {message}\nSee: {self.prog} --help\n", sys.stderr)
        raise UsageError(message)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; an option that does not exist is told before one that is missing, which may be the same one.

        Args:
            args: What follows the program's name.
            namespace: Takes the values.
        """
        if args is not None:
            self.words = tuple(args)
            self._refuse_unknown(args)
        return super().parse_known_args(args, namespace)

    def _refuse_unknown(self, words: Sequence[str]) -> None:
        # A command has a parser of its own for what follows its name.
        own = takewhile(lambda word: word != "--" and (not self._subparsers or word.startswith("-")), words)
        for word in own:
            name = word.partition("=")[0]
            if name.startswith("--") and " " not in name and name not in self._option_string_actions:
                self.error(f"{name}: there is no such option{_hint(name, self._option_string_actions)}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        raise argparse.ArgumentError(
            action, f"{value!r} is not one of {', '.join(choices)}{_hint(str(value), choices)}"
        )


class UsageError(SystemExit):
    """The end of a program whose options are wrong, with exit code 2.

    Attributes:
        message: What is wrong.
    """

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class _HelpFormatter(argparse.HelpFormatter):
    """Fills paragraphs to the terminal's width; lines with an indentation, such as commands, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for is_prose, group in groupby(text.split("\n"), lambda line: bool(line) and not line.startswith(" ")):
            block = list(group)
            lines += textwrap.wrap(" ".join(block), width) if is_prose else block
        return textwrap.indent("\n".join(lines), indent)


def _hint(word: str, known: Iterable[str]) -> str:
    # Imported here: --help needs nothing of it.
    from kfp_image_tuning.core.object_forms import hint_at_nearest

    return hint_at_nearest(word, known)
