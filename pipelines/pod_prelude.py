"""What runs in a step's pod before the step: shell that installs its packages and puts our code on the path.

It is short, because KFP keeps each container nine times in what it stores of a run.
"""

import shlex
from collections.abc import Sequence

from kfp_image_tuning.code_archive.config_map import ARCHIVE_PATH, config_map_name, install_command
from kfp_image_tuning.components.plain_errors import MARK, RULE

_CODE = "delivery"
_FAIL = f"""\
fail() {{
  printf '%s\\n' {RULE} '{MARK}{_CODE}' "$1" {RULE} >&2
  if [ -w /dev/termination-log ]; then echo "{_CODE}: $1" >/dev/termination-log; fi
  exit 1
}}
"""
"""The same frame as that of a component's last words."""

_FUNCTIONS = """\
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_BREAK_SYSTEM_PACKAGES=1
install() {
  python3 -m pip install --quiet --no-warn-script-location "$@" 2>"$log" && return
  cat "$log" >&2
  fail "$(grep ^WARNING "$log" | tail -n 1; { grep -i ^error "$log" || cat "$log"; } | tail -n 1)
The packages of this step could not be installed. Where pods reach no package index, compile the pipeline with \
kfp-image-tuning compile --index-url (a mirror) or --image (an image that holds them)."
}
scratch=$(mktemp -d)
log="$scratch/pip.log"
"""
"""pip tells first why it tries again, which is the cause, and last what it did not get."""

_CONFIG_MAP = """\
[ -f {archive} ] || fail "The ConfigMap {name}, which has the code of this step, is not in this \
namespace. To put it there: {command}"
{installs}
python3 -m zipfile -e {archive} "$scratch/code"
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
        return _FAIL + _FUNCTIONS + _PACKAGE.format(installs=installs)
    return (
        _FAIL
        + _FUNCTIONS
        + _CONFIG_MAP.format(
            archive=ARCHIVE_PATH, name=config_map_name(), command=install_command(_OWN_NAMESPACE), installs=installs
        )
    )
