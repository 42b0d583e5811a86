"""Which tests run in which process: those that share a server of their module, in one.

Each process would start the server for itself otherwise, and that takes longer than the tests. (The
marks of pytest-xdist for this have no effect under pytest 9.2.)
"""

import re

from xdist.scheduler import LoadScopeScheduling

_SERVER = re.compile(r"^(tests/gateway/\w+\.py)::.*\[(serve|uvicorn|daphne)\b")


_SHARED = re.compile(
    r"^tests/(api/test_over_http\.py"
    r"|delivery/test_resume\.py::test_cursors_are_not_believed"
    r"|test_docs_clients\.py::test_typescript)\b"
)


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Sends the tests of one server to one process, and all others to whoever is free."""

    def _split_scope(self, nodeid: str) -> str:
        if found := _SERVER.match(nodeid):
            return "-".join(found.groups())
        return shared.group() if (shared := _SHARED.match(nodeid)) else nodeid
