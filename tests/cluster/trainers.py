"""What ``python3`` is in the images of the tests' pods: shell scripts that print what a training prints, or fail."""

import stat
import sys
from pathlib import Path

from kfp_image_tuning.engines.katib.request.options import DEFAULT_IMAGE
from tests.emulators.katib_pods import COLLECTOR_IMAGE

_PREAMBLE = """#!/bin/sh
folder=$TRIAL_MODELS/$TRIAL_NAME
mkdir -p "$folder"
epoch() { echo "Epoch[$1] Train-accuracy=$2"; echo "Epoch[$1] Validation-accuracy=$2"; }
save() { echo '{}' > "$folder/model.json"; echo weights > "$folder/model.safetensors"; }
"""
_SCRIPTS = {
    # Two epochs with a pause of $SLEEP seconds between them.
    "quick": f"{_PREAMBLE}epoch 0 0.5\nsave\nsleep ${{SLEEP:-0.3}}\nepoch 1 0.8\nsave\n",
    # Six epochs, of which the fourth decides on early stopping; from the fourth trial on, much worse than the first and
    # slow once it is decided.
    "fading": f"""{_PREAMBLE}
case $(ls "$TRIAL_MODELS" | wc -l) in 1|2|3) first=8 rest=0.1;; *) first=1 rest=5;; esac
for number in 0 1 2 3 4 5; do
  epoch $number 0.$first$number
  save
  case $number in 0|1|2) sleep 0.1;; *) sleep $rest;; esac
done
""",
    # Waits until a file tells it to continue.
    "patient": f'{_PREAMBLE}epoch 0 0.5\nsave\nwhile [ ! -e "$TRIAL_MODELS/../go" ]; do sleep 0.1; done\nepoch 1 0.8\n',
    # Has reached something, but not left it.
    "unsaved": f"{_PREAMBLE}epoch 0 0.5\nsleep 60\n",
    # The best epoch is not the last.
    "falling": f"{_PREAMBLE}epoch 0 0.9\nsave\nepoch 1 0.3\n",
    "failing": "#!/bin/sh\necho Reading the data set\necho cannot read train.rec\nexit 3\n",
    "greedy": f"""#!/bin/sh
echo Loading everything at once
exec {sys.executable} -c 'import time; held = b"x" * (400 << 20); time.sleep(60)'
""",
    "silent": "#!/bin/sh\necho nothing to say\n",
}


def write_images(folder: Path) -> dict[str, Path]:
    """Write the images.

    Returns:
        Name to the folder that goes in front of PATH; ``trainer`` is this environment, with our trainer in it, and the
        public image this environment too, which needs no more packages.
    """
    images = {"trainer": Path(sys.executable).parent, COLLECTOR_IMAGE: Path(sys.executable).parent}
    public = f'#!/bin/sh\nTRIAL_PACKAGES= exec {sys.executable} "$@"\n'
    for name, script in {**_SCRIPTS, DEFAULT_IMAGE: public}.items():
        # PATH cannot hold a colon.
        program = folder / name.replace(":", "-") / "python3"
        program.parent.mkdir(parents=True)
        program.write_text(script)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        images[name] = program.parent
    return images
