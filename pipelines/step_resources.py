"""What a step's pod may use of its node, from the run form."""

from typing import Any

NO_LIMIT = "0"
"""Text that KFP's driver reads as no limit; it fails a step whose limit is empty."""
NO_ACCELERATORS = "0"
"""A text, because the driver reads a number as empty, and leaves the accelerator out without a word."""


def limit(task: Any, *, cpu: Any, memory: Any, accelerator: Any = None, accelerator_count: Any = None) -> None:
    """Set a step's limits, which are its requests as well: Kubernetes takes one for the other.

    Args:
        task: The task.
        cpu: Processors, a pipeline parameter that holds text such as ``4`` or `NO_LIMIT`, as all others.
        memory: Memory, such as ``16Gi``.
        accelerator: Resource of the node, such as ``nvidia.com/gpu``; None: the step has no use for one.
        accelerator_count: How many of it.
    """
    task.set_cpu_limit(cpu)
    task.set_memory_limit(memory)
    if accelerator is not None:
        task.set_accelerator_type(accelerator)
        task.set_accelerator_limit(accelerator_count)
