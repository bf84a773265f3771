"""What runs in a step's pod before the step: shell that puts our code on the path and installs its packages.

It is short, because KFP keeps each container nine times in what it stores of a run; most of it (``start_step.sh``)
comes with the code, wherever the code comes from the namespace's ConfigMap.
"""

import shlex
from collections.abc import Sequence
from importlib.resources import files

from kfp_image_tuning.core.installed_code import ARCHIVE_PATH, config_map_name, install_command

_START = "start_step.sh"
_SCRATCH = "scratch=$(mktemp -d)\n"

_CONFIG_MAP = """\
if [ ! -f {archive} ]; then
  m="The ConfigMap {name}, which has the code of this step, is not in this namespace. To put it there: {command}"
  printf '%s\\n' 'kfp-image-tuning: ERROR delivery' "$m" >&2
  if [ -w /dev/termination-log ]; then echo "delivery: $m" >/dev/termination-log; fi
  exit 1
fi
{scratch}\
python3 -m zipfile -e {archive} "$scratch/code"
. "$scratch/code/kfp_image_tuning/delivery/{start}"
{installs}
export PYTHONPATH="$scratch/code${{PYTHONPATH:+:$PYTHONPATH}}"
exec "$0" "$@"
"""

_PACKAGE = """\
{installs}
echo "$KFP_IMAGE_TUNING_PACKAGE" >"$scratch/package"
install --no-deps -r "$scratch/package"
exec "$0" "$@"
"""

_OWN_NAMESPACE = "$(cat /var/run/secrets/kubernetes.io/serviceaccount/namespace 2>/dev/null || echo NAMESPACE)"


def build_prelude(packages: Sequence[str], kfp: str, *, from_config_map: bool) -> str:
    """The script for ``sh -ec``, with the step's own command as its arguments.

    Args:
        packages: Requirements of the step.
        kfp: The requirement on kfp, which is installed without its dependencies, as KFP's own compiler does: in a pod
            its runtime needs none of them.
        from_config_map: Whether our code comes from the ConfigMap; otherwise by pip, as KFP_IMAGE_TUNING_PACKAGE says.
    """
    installs = f"install {' '.join(map(shlex.quote, packages))}\ninstall --no-deps {shlex.quote(kfp)}"
    if not from_config_map:
        return _SCRATCH + _without_comments(_start_script()) + _PACKAGE.format(installs=installs)
    return _CONFIG_MAP.format(
        archive=ARCHIVE_PATH,
        name=config_map_name(),
        command=install_command(_OWN_NAMESPACE),
        scratch=_SCRATCH,
        start=_START,
        installs=installs,
    )


def _start_script() -> str:
    return (files("kfp_image_tuning.delivery") / _START).read_text(encoding="utf-8")


def _without_comments(script: str) -> str:
    return "".join(line for line in script.splitlines(keepends=True) if not line.startswith("#"))
