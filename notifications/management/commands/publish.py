"""Publish a message from the command line."""

import json
import sys
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.management.refusals import refusals_as_command_errors
from notifications.services import publish
from notifications.services.writer import writer

FLUSH_SECONDS = 5.0
"""Time for telling the servers; the message itself is durable before."""


class Command(BaseCommand):
    """Publish one message in this process: it needs the database, not a server."""

    help = "Publish a message and print where it stands in the log."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the message."""
        parser.add_argument("topic")
        parser.add_argument("payload", metavar="JSON", help="any JSON value; - reads stdin")
        parser.add_argument("--priority", choices=("low", "normal", "high", "urgent"))
        parser.add_argument("--expires-at", metavar="TIME", help="an RFC 3339 time")
        parser.add_argument("--idempotency-key", metavar="KEY", help="makes a retry harmless")

    def handle(self, *args: Any, **options: Any) -> None:
        """Publish, wait until the servers are told, print one JSON line."""
        text = sys.stdin.read() if options["payload"] == "-" else options["payload"]
        payload = parse_json(text)
        metadata = {"priority": options["priority"], "expiresAt": options["expires_at"]}
        with refusals_as_command_errors():
            message = publish(
                options["topic"],
                payload,
                metadata={name: value for name, value in metadata.items() if value is not None},
                idempotency_key=options["idempotency_key"],
            )
        if not writer().flush(FLUSH_SECONDS):
            self.stderr.write("Published; the servers will find it in the log.")
        answer: dict[str, Any] = {"id": message.id, "topic": message.topic}
        if message.offset:  # an ephemeral message has no place
            answer |= {"seq": message.seq, "position": [message.partition, message.offset]}
        if message.duplicate:
            answer["duplicate"] = True
        self.stdout.write(json.dumps(answer))


def parse_json(text: str) -> Any:
    """Read a JSON value; raises CommandError that names the place of the mistake."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise CommandError(
            f"The payload is no JSON: {error.msg} at line {error.lineno}, column {error.colno}. "
            "Text needs its own quotes, as in '\"hello\"'."
        ) from error
    except RecursionError as error:
        raise CommandError("The payload is nested too deep.") from error


def _refuse_constant(name: str) -> NoReturn:
    # Python reads NaN and Infinity, which are no JSON and would be stored as null.
    raise CommandError(f"The payload is no JSON: {name} is no number in JSON.")
