"""Who runs where: the measured server alone on one core, the load on another."""

import os
import resource
from typing import Final

_CORES: Final = sorted(os.sched_getaffinity(0))
SERVER_CORES: Final = frozenset(_CORES[:1])
LOAD_CORES: Final = frozenset(_CORES[1:2] or _CORES)


def pin(pid: int, cores: frozenset[int]) -> None:
    """Keep a process on these cores; 0 is the caller.

    Call it right after the start: threads and children inherit it, but those there are do not.
    """
    os.sched_setaffinity(pid, cores)


def allow_open_files(wanted: int) -> int:
    """Raise this process's bound of open files toward `wanted`, and return what it is now.

    Children inherit it. Root raises the hard bound as well; others get as far as it lets them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return soft
    for limits in ((wanted, max(hard, wanted)), (min(wanted, hard), hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (ValueError, OSError):
            continue
        return limits[0]
    return soft
