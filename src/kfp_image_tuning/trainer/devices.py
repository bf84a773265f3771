"""Where and in what precision a training computes, and what that needs of the process while it lasts."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import distributed

from kfp_image_tuning.core.errors import TrainingError
from kfp_image_tuning.search.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Processes:
    """The processes that train one network together, as torchrun starts them.

    Attributes:
        number: This process's, from 0.
        count: In all, on all machines.
        on_this_machine: As many as share a mini-batch of ``mini_batch_size`` images.
    """

    number: int = 0
    count: int = 1
    on_this_machine: int = 1

    @classmethod
    def current(cls) -> "Processes":
        """The group that this process is in; a group of one if there is none."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return cls()
        count = distributed.get_world_size()
        return cls(distributed.get_rank(), count, int(os.environ.get("LOCAL_WORLD_SIZE", count)))

    @property
    def machines(self) -> int:
        """On how many machines they run."""
        return max(1, self.count // self.on_this_machine)

    def global_batch(self, mini_batch_size: int) -> int:
        """Images in a step: ``mini_batch_size`` for each machine."""
        return mini_batch_size * self.machines

    def describe_synchronization(self, kv_store: str | None) -> str:
        """How gradients come together, as a line of the built-in algorithm's log.

        Args:
            kv_store: What the hyperparameter asks for. It is about several machines; one alone does without, as in
                MXNet. Several wait for each other at every step, whatever is asked for: who asks for ``dist_async``
                wants to have done sooner, and gains nothing from a refusal.
        """
        if self.machines == 1:
            return "kv_store: device" + (f" ({kv_store} is for several machines)" if kv_store else "")
        instead = " instead of dist_async, which is not offered" if kv_store == "dist_async" else ""
        return f"kv_store: dist_sync{instead}: {self.machines} machines exchange their gradients at every step"

    def agree(self, decision: bool) -> bool:
        """Make the first process's decision everyone's."""
        if self.count == 1:
            return decision
        # In a list of objects, which any backend passes on.
        decisions = [decision]
        distributed.broadcast_object_list(decisions, 0)
        return decisions[0]

    def check_same(self, what: str, value: object, way_out: str) -> None:
        """Refuse to train where the processes differ: they would wait for each other for ever, or learn from half.

        Raises:
            TrainingError: In all processes.
        """
        if self.count == 1:
            return
        values: list[object] = [None] * self.count
        distributed.all_gather_object(values, value)
        if any(other != value for other in values):
            raise TrainingError(f"{what}: differ between processes: {', '.join(map(str, values))}; {way_out}")


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started together with this one, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    device = default_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def default_device() -> torch.device:
    """This process's GPU where there is one, otherwise the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    return torch.device("cpu")


@dataclass(frozen=True)
class Precision:
    """How ``precision_dtype`` is computed on a device.

    Attributes:
        device: Where.
        mixed: What convolutions and products are computed in; None for float32.
        scales_loss: Whether gradients could underflow without a scaled loss.
        description: In words, for the log.
    """

    device: torch.device
    mixed: torch.dtype | None
    scales_loss: bool
    description: str

    @classmethod
    def choose(cls, hyperparameters: Hyperparameters, device: torch.device) -> "Precision":
        """Mixed precision if asked for: float16 on a GPU; bfloat16 on a CPU that computes in it, else float32."""
        if hyperparameters.precision_dtype == "float32":
            return cls(device, None, False, "float32")
        if device.type == "cuda":
            return cls(device, torch.float16, True, "float16 with float32 weights and a scaled loss")
        # Older PyTorch cannot tell.
        if getattr(torch.cpu, "get_capabilities", dict[str, bool])().get("avx512_bf16"):
            return cls(device, torch.bfloat16, False, "bfloat16 with float32 weights, a CPU's stand-in for float16")
        return cls(device, None, False, "float32, as this CPU does not compute in 16 bits")

    def autocast(self) -> AbstractContextManager[object]:
        """Surrounds the network's forward pass."""
        if self.mixed is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.mixed)


@contextlib.contextmanager
def training_mode(device: torch.device) -> Iterator[None]:
    """Set what training needs of this process, and set it back.

    Numbers too small for float32's normal form count as 0: strong weight decay drives weights there, and a CPU computes
    with them a hundred times slower.
    """
    flushed = _denormals_are_flushed()
    torch.set_flush_denormal(True)
    cudnn = torch.backends.cudnn
    tuned = cudnn.flags(enabled=True, benchmark=True) if device.type == "cuda" else contextlib.nullcontext()
    try:
        with tuned, torch.enable_grad():
            yield
    finally:
        torch.set_flush_denormal(flushed)


def _denormals_are_flushed() -> bool:
    return float(torch.tensor(1e-39) * 0.5) == 0.0
