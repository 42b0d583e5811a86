"""CPU time and memory of a process and everything it started."""

import time

import psutil


def _tree(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def cpu_seconds(pid: int) -> float:
    """Return user and system time that the tree of `pid` has used since it began.

    The kernel's per-process clock counts nanoseconds, finished threads included; the tick count
    in /proc/<pid>/stat counts steps of 10 ms, which is several percent of a short run. Children
    that have ended are in their parent's ticks, for there is no clock left to ask.
    """
    total = 0.0
    for process in _tree(pid):
        try:
            times = process.cpu_times()
            total += times.children_user + times.children_system
            # CPUCLOCK_SCHED of another process, as clock_getcpuclockid(3) builds it.
            total += time.clock_gettime((~process.pid << 3) | 2)
        except (psutil.NoSuchProcess, OSError):
            continue  # it ended while we counted
    return total


def resident_kib(pid: int) -> float:
    """Return the resident memory of the tree of `pid`, KiB. Shared pages count once for each."""
    total = 0
    for process in _tree(pid):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1024
