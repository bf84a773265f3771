"""``python -m kfp_image_tuning.trainer``: one training as a program; as a SageMaker container, when started as one.

Here only stands what must come before PyTorch: OpenMP reads its settings once, when it is loaded.
"""

import os
import sys
from pathlib import Path

from kfp_image_tuning.dataset.cores import available_cores
from kfp_image_tuning.trainer import sagemaker_container


def main() -> int:
    """Run the command line or the container's training; return the exit status."""
    arguments = sys.argv[1:]
    # Threads that wait by spinning starve the other processes of a shared machine (a tenfold slowdown was measured).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["OMP_NUM_THREADS"] = str(_threads(arguments))
    root = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    if arguments == ["train"] or (not arguments and sagemaker_container.is_here(root)):
        return sagemaker_container.train_in(root)
    from kfp_image_tuning.trainer import command_line

    return command_line.main(arguments)


def _threads(arguments: list[str]) -> int:
    """What ``--threads`` says, else the environment, else the cores of this pod or machine, shared by its processes."""
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name == "--threads":
            value = value if equals else "".join(arguments[position + 1 : position + 2])
            # Anything else is refused by the parser, with its usual words.
            return max(1, int(value)) if value.isdigit() else 1
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        return int(os.environ["OMP_NUM_THREADS"])
    return max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


if __name__ == "__main__":
    sys.exit(main())
