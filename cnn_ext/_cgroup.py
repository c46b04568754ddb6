"""How many CPUs the control groups of this process grant it (Linux, cgroup v1 and v2)."""

from __future__ import annotations

import math
import os


def cpu_quota(process: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> float:
    """The smallest quota from the group of this process up to the root, in CPUs.

    Parameters
    ----------
    process : str
        The file that names the groups of the process, a line for each hierarchy.
    mount : str
        Where the hierarchies lie.

    Returns
    -------
    float
        Infinite where nothing limits, or nothing can be read.
    """
    least = math.inf
    for line in _read(process).splitlines():
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if not controllers:  # v2, beside v1 in a folder of its own
            for root in (mount, f"{mount}/unified"):
                for folder in _upwards(root, group):
                    least = min(least, _ratio(_read(f"{folder}/cpu.max").split()))
        elif "cpu" in controllers.split(","):
            for root in {f"{mount}/{controllers}", f"{mount}/cpu"}:
                for folder in _upwards(root, group):
                    parts = [_read(f"{folder}/cpu.cfs_{name}_us") for name in ("quota", "period")]
                    least = min(least, _ratio(parts))
    return least


def _upwards(root: str, group: str) -> list[str]:
    # the folders from that of the group to the root; the root alone where the group is named from
    # outside a container and its folder is not to be seen
    names = [name for name in group.split("/") if name]
    if ".." in names or not os.path.isdir("/".join([root, *names])):
        names = []
    return ["/".join([root, *names[:depth]]) for depth in range(len(names), -1, -1)]


def _ratio(parts: list[str]) -> float:
    # quota by period in CPUs; infinite for "max", -1 and everything that is no such pair
    try:
        quota, period = map(int, parts)
        return quota / period if quota > 0 and period > 0 else math.inf
    except (ValueError, OverflowError):
        return math.inf


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read())
    except OSError:
        return ""
