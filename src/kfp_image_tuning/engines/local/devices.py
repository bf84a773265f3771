"""How many trials a machine runs side by side, and on what: one for each core, or for each GPU where there are any."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kfp_image_tuning.core.processors import available_cores

DEVICE_FILES = Path("/dev")


@dataclass(frozen=True)
class Device:
    """What one worker trains on.

    Attributes:
        name: As torch names it: ``cpu``, ``cuda:0``, …
        threads: That its process may use.
    """

    name: str
    threads: int


@dataclass(frozen=True)
class Machine:
    """What a machine gives this process.

    Attributes:
        cores: Its share of them, at least 1.
        gpus: NVIDIA GPUs.
    """

    cores: int
    gpus: int

    @classmethod
    def here(cls) -> Self:
        """This machine."""
        return cls(available_cores(), count_gpus())

    def choose_devices(self, wanted: int | None = None) -> tuple[Device, ...]:
        """One device for each worker.

        A GPU takes one worker. Without GPUs a worker has one core: two trials of one thread each get further in the
        same time than one trial of two threads. Fewer workers than cores have more threads each.

        Args:
            wanted: Trials at a time; None: as many as there is room for. More than there are cores share them.
        """
        count = wanted or self.gpus or self.cores
        threads = max(1, self.cores // count)
        return tuple(Device(f"cuda:{number % self.gpus}" if self.gpus else "cpu", threads) for number in range(count))


def count_gpus(device_files: Path = DEVICE_FILES) -> int:
    """The NVIDIA GPUs that this process may use, found without the seconds that asking torch takes."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return sum(path.name.removeprefix("nvidia").isdigit() for path in device_files.glob("nvidia[0-9]*"))
    names = [name.strip() for name in visible.split(",")]
    # CUDA takes the names up to the first that is not a device.
    return next((place for place, name in enumerate(names) if name in ("", "-1")), len(names))
