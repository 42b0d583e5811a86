"""Room for sockets: how many files a process may have open."""

import resource

SPARE = 200
"""Descriptors for all that is no client's socket: stores, log files, listeners, requests."""

AS_MANY_AS_THERE_ARE = 1 << 20
"""What to ask for where nothing bounds the connections: Linux gives no process more unasked."""


def make_room(sockets: int) -> int:
    """Raise this process's bound of open files, as far as it may, to hold so many sockets.

    Returns for how many sockets there is room, which are fewer where the hard bound is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return sockets if soft == resource.RLIM_INFINITY else min(sockets, max(0, soft - SPARE))
