"""Who subscribes to what in a fault run, and the topics that are published to."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.delivery.fault_subscriber import Habits

TOPICS = [
    f"{group}.{leaf}"
    for group in ("shop.1", "shop.2", "yard.1", "yard.2", "mill.1")
    for leaf in "abcd"
]


@dataclass(frozen=True)
class Wish:
    """A subscriber that a run has. grants: what its key may subscribe to, one pattern."""

    name: str
    patterns: Sequence[str]
    grants: str
    habits: Habits = field(default_factory=Habits)
    deduplicates: bool = True


COMES_AND_GOES = Habits(stays=(2, 5), away=(0.3, 2))
TAKES_ITSELF_OVER = Habits(stays=(2, 5))

WISHES = (
    Wish("everything", ("**",), "**"),
    Wish("literal topics", ("shop.1.a", "yard.2.b"), "**"),
    Wish("overlapping patterns", ("mill.1.*", "mill.**", "mill.1.a"), "mill.**"),
    Wish("comes and goes", ("shop.**",), "shop.**", COMES_AND_GOES),
    Wish("comes and goes too", ("yard.*.a", "yard.*.b", "shop.2.c"), "**", COMES_AND_GOES),
    Wish("takes itself over", ("shop.1.*", "yard.**"), "**", TAKES_ITSELF_OVER),
    Wish("takes its topics over", ("mill.1.b", "shop.2.d"), "**", TAKES_ITSELF_OVER),
)
