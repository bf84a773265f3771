"""How many cores this process may use, which in a pod is fewer than the machine has."""

import math
import os
from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")


def available_cores(control_group: Path = CONTROL_GROUP) -> int:
    """The number of cores by affinity and by the container's CPU limit, at least 1.

    Args:
        control_group: Where the container's limits are mounted.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _cpu_limit(control_group)
    return affinity if limit is None else max(1, min(affinity, math.ceil(limit)))


def _cpu_limit(control_group: Path) -> float | None:
    """The container's limit in cores, such as 1.5; None if it has none."""
    try:
        quota, period = (control_group / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (control_group / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (control_group / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    # Version 2 writes "max" for none, version 1 writes -1.
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None
