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
from kfp_image_tuning.cli import completion, demo, evaluate, export, install, plan, predict, prepare, report, run
from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.cli.terminal import OutputLostError, Terminal, print_json
from kfp_image_tuning.core.argument_parser import CommandParser, UsageError
from kfp_image_tuning.core.console import drop_output, speak_through

PROGRAM = "kfp-image-tuning"

_DESCRIPTION = """\
Tune an image classifier: give labelled images, get the best model that a budget buys, and a report.

  kfp-image-tuning demo --output runs/demo
      real images, about five minutes
  kfp-image-tuning run --data ~/photos --output runs/photos
      your images: a folder with one folder for each class
"""

_EXIT_CODES = """\
exit codes: 0 it worked; 1 it did not; 2 the command is wrong: options, their values, names of hyperparameters; 3 it
worked, but the model does not pass --min-accuracy or --baseline. Each error shows its code, such as [dataset]:
docs/troubleshooting.md lists them.
"""


_OF_PIPELINES = (compile_command.execute, install.execute)
"""Commands whose users speak of parameters and steps."""
_PIPED_ON = (plan.execute, predict.execute, completion.execute)
"""Commands whose result is made to be piped on: all else goes to standard error."""


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
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for command in (run, plan, prepare, evaluate, predict, export, report, compile_command, install, demo, completion):
        command.add_to(commands)
    for command_parser in commands.choices.values():
        _add_output_options(command_parser)
    return parser


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command has."""
    group = parser.add_argument_group("what is printed")
    how_much = group.add_mutually_exclusive_group()
    how_much.add_argument("-q", "--quiet", action="store_true", help="the result and errors alone")
    how_much.add_argument(
        "-v", "--verbose", action="store_true", help="more: each epoch, where things are, what engines are sent"
    )
    group.add_argument(
        "--json",
        action="store_true",
        help="the result, or the error, as one line of JSON on standard output; all else to standard error",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: What follows the program's name; None: what this process was called with.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    # What a name or a message holds must not stop it from being shown.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        chosen = _parse(words)
        with Terminal(
            quiet=chosen.quiet, verbose=chosen.verbose, as_json=chosen.json, notes_aside=chosen.execute in _PIPED_ON
        ) as terminal:
            outcome = _execute(chosen, terminal)
        if chosen.json:
            print_json(outcome.to_dict(chosen.command))
        sys.stdout.flush()
    except UsageError as error:
        if "--json" in words:
            print_json(Outcome(exit_code=2, error=("usage", error.message)).to_dict(""))
        raise
    except (OutputLostError, OSError) as lost:
        # Python must not try again when it ends.
        drop_output()
        cause = lost.error if isinstance(lost, OutputLostError) else lost
        # The reader of our output may have gone (``| head``): nobody needs to be told.
        return 1 if isinstance(cause, BrokenPipeError) else _fail(cause, Terminal()).exit_code
    return outcome.exit_code


def _parse(words: Sequence[str]) -> argparse.Namespace:
    """What was typed; ends the program if it is wrong."""
    parser = build_parser()
    if problem := _find_empty(words):
        parser.error(problem)
    return parser.parse_args(words)


def _execute(chosen: argparse.Namespace, terminal: Terminal) -> Outcome:
    """Run a command to its end, whatever that is; errors are shown."""
    try:
        with speak_through(terminal):
            outcome: Outcome = chosen.execute(chosen)
    except KeyboardInterrupt:
        outcome = Outcome(exit_code=130, error=("interrupted", "Interrupted."))
    except BrokenPipeError:
        raise
    except Exception as error:
        return _fail(error, terminal, as_parameters=chosen.execute in _OF_PIPELINES)
    if outcome.error is not None:
        terminal.error(outcome.error[1])
    return outcome


def _fail(error: Exception, terminal: Terminal, *, as_parameters: bool = False) -> Outcome:
    """Show an error, with the traceback if it is a defect of ours."""
    # Imported here: these look packages up, and --help does not.
    from kfp_image_tuning.cli.users_words import in_users_words
    from kfp_image_tuning.core.errors import DefectError
    from kfp_image_tuning.core.foreign_errors import as_own_error

    own = as_own_error(error)
    if isinstance(own, DefectError):
        traceback.print_exc()
    message = str(own) if as_parameters else in_users_words(str(own))
    terminal.error(f"Error [{own.code}]: {message}")
    return Outcome(exit_code=own.exit_code, error=(own.code, message))


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
