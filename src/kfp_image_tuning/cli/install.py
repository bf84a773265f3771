"""``kfp-image-tuning install``: this release's code in a namespace, for pipelines and Katib's trials."""

import argparse
from typing import Any

from kfp_image_tuning.cli.outcome import Outcome
from kfp_image_tuning.core.console import say, say_result

_DESCRIPTION = """\
Put the code of this release into a namespace of the current kubeconfig's cluster, as a ConfigMap that the steps of
compiled pipelines and Katib's trials mount. Nothing else is needed for it: no image, no package index of your own.
ConfigMaps of other releases stay, since pipelines that were compiled with those need them.
"""

_SENTENCES = {
    "created": "is installed",
    "updated": "is replaced by the code of this installation",
    "unchanged": "is there already, with this code",
    "removed": "is removed; pipelines that were compiled with this release fail at their first step",
    "not there": "is not there: nothing to remove",
}


def add_to(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "install",
        help="put the code of this release into a namespace of a cluster",
        description=_DESCRIPTION,
    )
    parser.add_argument("--namespace", metavar="NAME", required=True, help="where the pods of runs are")
    parser.add_argument("--dry-run", action="store_true", help="have the cluster check it, and change nothing")
    parser.add_argument("--uninstall", action="store_true", help="remove this release's ConfigMap instead")
    parser.set_defaults(execute=execute)


def execute(arguments: argparse.Namespace) -> Outcome:
    """Run the command."""
    from kfp_image_tuning.delivery.installation import Installation

    installation = Installation.connect(arguments.namespace, dry_run=arguments.dry_run)
    done = installation.uninstall() if arguments.uninstall else installation.install()
    prefix = "dry run, nothing is changed: " if arguments.dry_run else ""
    say_result(f"{prefix}ConfigMap {done.name} in namespace {done.namespace} {_SENTENCES[done.change]}")
    if done.others:
        say(f"of other releases, and left as they are: {', '.join(done.others)}")
    return Outcome(
        {
            "config_map": done.name,
            "namespace": done.namespace,
            "change": done.change,
            "dry_run": arguments.dry_run,
            "other_config_maps": list(done.others),
        }
    )
