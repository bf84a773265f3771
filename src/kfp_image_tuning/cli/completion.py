"""``kfp-image-tuning completion``: what makes a shell complete commands, options and their values."""

import argparse
from typing import Any

from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.core.console import say_document

SHELLS = ("bash", "zsh", "fish")

_DESCRIPTION = """\
Print a script that makes a shell complete commands, options and their values with the Tab key. For good:

  echo 'source <(kfp-image-tuning completion bash)' >> ~/.bashrc
  kfp-image-tuning completion zsh > ~/.zfunc/_kfp-image-tuning
      with fpath+=(~/.zfunc) before compinit in ~/.zshrc
  kfp-image-tuning completion fish \\
      > ~/.config/fish/completions/kfp-image-tuning.fish
"""


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "completion", help="print a script that makes a shell complete commands", description=_DESCRIPTION
    )
    parser.add_argument("shell", choices=SHELLS, help="whose script")
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run the command."""
    import shtab

    from kfp_image_tuning.cli.command_line import build_parser

    parser = build_parser()
    _complete_files(parser)
    script = shtab.complete(parser, arguments.shell)
    say_document(script if script.endswith("\n") else script + "\n")
    return Outcome({"shell": arguments.shell, "script": script})


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Say of every option, of all commands, whether it takes a file or a folder: by what the help calls its value."""
    import shtab

    kinds = {"FILE": shtab.FILE, "DIR": shtab.DIR, "PATH": shtab.FILE, "SOURCE": shtab.FILE, "DATASET": shtab.FILE}
    kinds |= {"MODEL": shtab.FILE, "IMAGE": shtab.FILE}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_files(command)
        elif isinstance(action.metavar, str) and action.metavar in kinds:
            action.complete = kinds[action.metavar]  # type: ignore[attr-defined]
