"""The machines of a SageMaker training, and how their processes come together."""

import os
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.core.wording import duration

MASTER_PORT = "29500"


@dataclass(frozen=True)
class Hosts:
    """The machines that train together.

    Attributes:
        names: All of them, in the same order on each.
        this: This one's.
        interface: The network interface that they reach each other by, if it is known.
    """

    names: tuple[str, ...]
    this: str
    interface: str | None = None

    @classmethod
    def from_resources(cls, resources: Mapping[str, object]) -> Self:
        """Read what ``resourceconfig.json`` says.

        Raises:
            TrainingError: If it contradicts itself.
        """
        hosts, this = resources.get("hosts"), resources.get("current_host")
        interface = resources.get("network_interface_name")
        if not isinstance(hosts, list) or this not in hosts:
            raise TrainingError(
                f"resourceconfig.json: must hold hosts and the current_host among them, got {hosts} and {this}"
            )
        return cls(tuple(sorted(map(str, hosts))), str(this), str(interface) if interface else None)

    def network_variables(self) -> dict[str, str]:
        """Environment variables by which PyTorch's backends find the others."""
        if self.interface is None or len(self.names) == 1:
            return {}
        return {name: os.environ.get(name, self.interface) for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME")}

    def wait_until_known(self, seconds: float) -> None:
        """Wait until the first machine's name leads to an address.

        Raises:
            TrainingError: If it does not in time.
        """
        until = time.monotonic() + seconds
        while True:
            try:
                socket.getaddrinfo(self.names[0], None)
                return
            except OSError as error:
                if time.monotonic() > until:
                    raise TrainingError(
                        f"{self.names[0]}: has no address after {duration(seconds)} ({error.strerror}); the machines "
                        "must reach each other by the names in resourceconfig.json"
                    ) from None
            time.sleep(1)


def launch_command(hosts: Hosts) -> list[str] | None:
    """The command that starts one process for each GPU of this machine, together with those of the other machines.

    Returns:
        None if this process is enough.
    """
    import torch

    processes = max(1, torch.cuda.device_count())
    if processes * len(hosts.names) == 1:
        return None
    return [
        *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"),
        *(f"--nnodes={len(hosts.names)}", f"--node-rank={hosts.names.index(hosts.this)}"),
        *(f"--master-addr={hosts.names[0]}", f"--master-port={os.environ.get('MASTER_PORT', MASTER_PORT)}"),
        *("--module", "kfp_image_tuning.trainer", "train"),
    ]
