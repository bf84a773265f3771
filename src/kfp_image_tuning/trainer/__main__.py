"""``python -m kfp_image_tuning.trainer``: one training as a program; as a SageMaker container, when started as one.

Here only stands what must come before PyTorch: OpenMP reads its settings once, when it is loaded.
"""

import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from kfp_image_tuning.core.processors import available_cores
from kfp_image_tuning.trainer import sagemaker_container


def main() -> int:
    """Run the command line or the container's training; return the exit status."""
    arguments = sys.argv[1:]
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Whoever reads the log through a pipe, such as a metrics collector, gets each line when it is written.
        sys.stdout.reconfigure(line_buffering=True)
    # Threads that wait by spinning starve the other processes of a shared machine (a tenfold slowdown was measured).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ["OMP_NUM_THREADS"] = str(choose_threads(arguments, os.environ, available_cores()))
    root = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
    if arguments == ["train"] or (not arguments and sagemaker_container.is_here(root)):
        # A container's first process is not ended by this signal unless it says so. The best model is on the disk.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        return sagemaker_container.train_in(root)
    from kfp_image_tuning.trainer import command_line

    return command_line.main(arguments)


def choose_threads(arguments: Sequence[str], environment: Mapping[str, str], cores: int) -> int:
    """What ``--threads`` says, else the environment, else this process's share of the cores.

    Args:
        arguments: The command line's.
        environment: The process's variables; torchrun says there how many processes share this machine.
        cores: That the pod or the machine allows.
    """
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        name, equals, value = argument.partition("=")
        number = value if equals else following
        # Anything but a number is refused later by the parser, with its usual words.
        if name == "--threads" and number.isdigit():
            return max(1, int(number))
    if environment.get("OMP_NUM_THREADS", "").isdigit():
        return int(environment["OMP_NUM_THREADS"])
    return max(1, cores // int(environment.get("LOCAL_WORLD_SIZE", "1")))


if __name__ == "__main__":
    sys.exit(main())
