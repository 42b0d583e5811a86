"""The ways in which a client connects."""

from typing import Any, Literal

from tests.recovery.machine.client import ClientState

How = Literal["resume", "rewind", "fresh", "garbage", "foreign"]
HOWS: tuple[How, ...] = (
    "resume",
    "resume",
    "resume",
    "resume",
    "rewind",
    "rewind",
    "rewind",
    "fresh",
    "garbage",
    "foreign",
)
"""Some are drawn more often."""

GARBAGE: tuple[Any, ...] = (
    {},
    {"epoch": "x0", "offsets": {"0": 1}},
    {"epoch": "EPOCH", "offsets": {"0": 2**40}},
    {"epoch": "EPOCH", "offsets": {"7": 0}},
    {"epoch": "EPOCH", "offsets": {"1": -1}},
    {"epoch": "EPOCH", "offsets": [1, 2]},
    {"epoch": 7, "offsets": {}},
)


def how_to_resume(client: ClientState, how: How, index: int, others: list[str]) -> tuple[Any, str]:
    """Return the cursor to resume with (None for none) and a secret that is not the client's.

    others: the secrets of other clients.
    """
    resume: Any = client.cursor.on_the_wire()
    secrets = ["no such secret", *others]
    match how:
        case "fresh":
            return None, ""
        case "foreign":
            return None, secrets[index % len(secrets)]
        case "rewind" if client.past:
            return client.past[-(index + 1) % len(client.past)], ""
        case "garbage":
            resume = GARBAGE[index % len(GARBAGE)]
            if resume.get("epoch") == "EPOCH":
                resume = resume | {"epoch": client.log.epoch}
    return resume, ""
