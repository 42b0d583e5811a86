"""What the Python client tells, as observations: without times, equal to what driver.mjs prints."""

import json
import sys
from typing import Any

from bellwether_client import (
    ClientEvent,
    Connected,
    Connecting,
    ConnectionState,
    ConnectionStats,
    Disconnected,
    NotificationError,
    Reconnecting,
)

Observation = dict[str, Any]

# By which a platform says that no close frame came.
_UNSAID = (1005, 1006, None)


def observe(observation: Observation) -> None:
    """Print an observation."""
    sys.stdout.write(json.dumps(observation) + "\n")
    sys.stdout.flush()


def sparse(**fields: Any) -> Observation:
    """Leave out what is None or False."""
    return {
        name: value for name, value in fields.items() if value is not None and value is not False
    }


def state_view(state: ConnectionState) -> Observation:
    """Describe a state."""
    match state:
        case Connecting(attempt=attempt):
            return {"state": state.status, "attempt": attempt}
        case Connected(server_id=server):
            return {"state": state.status, "server": server}
        case Reconnecting(attempt=attempt, last_error=error, backoff_delay=delay):
            told = sparse(reason=error.reason, closeCode=_close_code(error))
            # A circuit that opens is asked a moment later how long it stays so.
            rounded = round(delay / 5) * 5
            return {"state": state.status, "attempt": attempt, "delay": rounded, **told}
        case Disconnected(reason=reason):
            return {"state": state.status, **sparse(reason=reason)}


def event_view(event: ClientEvent, names: dict[str, str], making: str | None) -> Observation:
    """Describe an event. names: of subscriptions by id; making: the one that is made just now."""
    view: Observation = {"event": event.type}
    match event.type:
        case "recovered":
            view |= sparse(count=event.count, topic=event.topic)
        case "gap":
            view |= sparse(reason=event.reason, topic=event.topic)
        case "subscription_ended":
            view |= {"of": names.get(event.subscription.id, making), "code": event.error.code}
        case "connection_ended":
            view |= sparse(reason=event.error.reason, closeCode=_close_code(event.error))
        case "handler_error":
            view |= {"error": str(event.error), "got": event.message.payload}
        case "server_error":
            view |= {"code": event.error.code}
        case "orphan":
            view |= {"topic": event.topic}
        case "circuit":
            view |= {"circuit": event.circuit}
    return view


def failure_view(error: Exception) -> Observation:
    """Describe why a call failed."""
    if isinstance(error, NotificationError):
        return sparse(failed=error.code, temporary=error.temporary)
    reason = getattr(error, "reason", None) or str(error)
    return sparse(failed=reason, closeCode=_close_code(error))


def stats_view(stats: ConnectionStats) -> Observation:
    """Describe the figures that are no times."""
    return {
        "stats": {
            "messagesReceived": stats.messages_received,
            "messagesSent": stats.messages_sent,
            "reconnectCount": stats.reconnect_count,
            "waiting": stats.waiting,
            "circuit": stats.circuit,
        },
        "failures": [
            {
                "reason": one.reason,
                "attempt": one.attempt,
                **sparse(closeCode=_close_code(one)),
            }
            for one in stats.failures
        ],
    }


def _close_code(error: object) -> int | None:
    code = getattr(error, "close_code", None)
    return None if code in _UNSAID else code
