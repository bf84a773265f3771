"""The command line ``kfp-image-tuning``.

Each command lives in a module of this package and imports what it needs when it runs: ``--help`` is not kept waiting
by torch or kfp.
"""

import argparse
import io
import sys
import traceback
from collections.abc import Sequence

from kfp_image_tuning.cli import compile as compile_command
from kfp_image_tuning.cli import demo, evaluate, export, install, plan, predict, prepare, report, run
from kfp_image_tuning.core.argument_parser import CommandParser
from kfp_image_tuning.core.console import drop_output

PROGRAM = "kfp-image-tuning"

_DESCRIPTION = """\
Tune an image classifier: give labelled images, get the best model that a budget buys, and a report.

  kfp-image-tuning demo --output runs/demo                     real images, about five minutes
  kfp-image-tuning run --data ~/photos --output runs/photos    your images: a folder with one folder for each class
"""

_EXIT_CODES = """\
exit codes: 0 it worked; 1 it did not; 2 the command is wrong: options, their values, names of hyperparameters; 3 it
worked, but the model does not pass --min-accuracy or --baseline. Each error shows its code, such as [dataset]:
docs/troubleshooting.md lists them.
"""


class _ShowVersion(argparse.Action):
    """Reads the version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"{PROGRAM} {version('kfp-image-tuning')}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = CommandParser(
        prog=PROGRAM,
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (run, plan, prepare, evaluate, predict, export, report, compile_command, install, demo):
        command.add_to(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What follows the program's name; None: what this process was called with.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = build_parser()
    if problem := _find_empty(words):
        parser.error(problem)
    # What a name or a message holds must not stop it from being shown.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        chosen = parser.parse_args(words)
        code: int = chosen.execute(chosen)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (``| head``); Python must not complain when it closes the stream.
        drop_output()
        return 1
    except Exception as error:
        return _tell(error)
    return code


def _tell(error: Exception) -> int:
    """Show an error, with the traceback if it is a defect of ours; the exit code."""
    # Imported here: these look packages up, and --help does not.
    from kfp_image_tuning.core.errors import DefectError
    from kfp_image_tuning.core.foreign_errors import as_own_error

    own = as_own_error(error)
    if isinstance(own, DefectError):
        traceback.print_exc()
    print(f"Error [{own.code}]: {own}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        # What this error is about: Python must not try again when it ends.
        drop_output()
    return own.exit_code


def _find_empty(words: Sequence[str]) -> str:
    """What an unset shell variable leaves behind: an empty word would mean the working directory to many an option."""
    for place, word in enumerate(words):
        option, equals, value = word.partition("=")
        if not word.strip():
            option = words[place - 1] if place else "the first word"
        elif not (option.startswith("--") and equals and not value.strip()):
            continue
        return f"{option}: is empty; give a value (is a shell variable not set?)"
    return ""


if __name__ == "__main__":
    sys.exit(main())
