"""Believable notifications for a demonstration: orders that move, deliveries, mentions, builds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

_GOODS = ("Kettle", "Desk lamp", "Running shoes", "Bicycle pump", "Notebook", "Headphones", "Tent")
_PEOPLE = ("Amara", "Bruno", "Chiara", "Daniel", "Elif", "Femi", "Greta", "Hiro")
_PLACES = ("the design review", "invoice 2041", "the release notes", "ticket 318", "the roadmap")
_PROJECTS = ("web", "api", "worker", "docs")
_ORDER_STATES = ("placed", "paid", "packed", "handed_over")
_DELIVERY_STATES = ("in_transit", "out_for_delivery", "delivered")


@dataclass(frozen=True, slots=True)
class Story:
    """A notification to publish."""

    topic: str
    payload: dict[str, Any]
    priority: str = "normal"


@dataclass(slots=True)
class _Order:
    number: int
    item: str
    total: float
    steps: Iterator[tuple[str, str]] = field(repr=False)


def stories(random: Random, *, user_id: int) -> Iterator[Story]:
    """Tell without end what happens to a user; the same seed tells the same."""
    root = f"user.{user_id}"
    orders: list[_Order] = []
    number = 1000 + random.randrange(1000)
    build = random.randrange(100, 500)
    while True:
        kind = random.choices(("order", "mention", "build"), weights=(6, 2, 2))[0]
        if kind == "mention":
            yield Story(
                f"{root}.mentions",
                {
                    "from": random.choice(_PEOPLE),
                    "where": random.choice(_PLACES),
                    "text": random.choice(
                        ("Can you take a look?", "Thanks!", "What do you think?")
                    ),
                },
            )
        elif kind == "build":
            build += 1
            passed = random.random() < 0.8
            yield Story(
                f"{root}.builds",
                {
                    "project": random.choice(_PROJECTS),
                    "number": build,
                    "state": "passed" if passed else "failed",
                    "seconds": random.randrange(20, 400),
                },
                "normal" if passed else "high",
            )
        else:
            if not orders or (len(orders) < 4 and random.random() < 0.3):
                number += 1
                item = random.choice(_GOODS)
                orders.append(_Order(number, item, random.randrange(900, 20000) / 100, _steps()))
            order = random.choice(orders)
            step = next(order.steps, None)
            if step is None:
                orders.remove(order)
                continue
            yield _order_story(root, order, *step)


def _steps() -> Iterator[tuple[str, str]]:
    for state in _ORDER_STATES:
        yield "orders", state
    for state in _DELIVERY_STATES:
        yield "deliveries", state


def _order_story(root: str, order: _Order, kind: str, state: str) -> Story:
    payload: dict[str, Any] = {"id": order.number, "state": state, "item": order.item}
    if kind == "orders":
        payload["total"] = order.total
    return Story(f"{root}.{kind}", payload, "high" if state == "out_for_delivery" else "normal")
