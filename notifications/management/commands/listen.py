"""Listen to topics from the command line."""

import asyncio
import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.tokens import issue_access_token
from bellwether_client import (
    ClientEvent,
    ConnectionError,
    ConnectionState,
    Gap,
    NotificationClient,
    NotificationClientConfig,
    NotificationError,
    NotificationMessage,
    Recovered,
    ServerError,
    UnreadableFrame,
)
from notifications.management.holders import first_superuser, user_named
from notifications.management.refusals import refusals_as_command_errors


class Command(BaseCommand):
    """Print what is published to a topic or pattern: one JSON line a message, on stdout."""

    help = "Print messages as they come, one JSON line each. Reconnects; status goes to stderr."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what, where, who and how long."""
        parser.add_argument("pattern", help="a topic or pattern, such as user.7.*")
        parser.add_argument("--url", default="ws://127.0.0.1:8000/ws", help="default: %(default)s")
        who = parser.add_mutually_exclusive_group()
        who.add_argument("--token", help="an access token or an API key")
        who.add_argument("--user", help="a user of this database; default: the first superuser")
        parser.add_argument("--count", type=int, metavar="N", help="end after N messages")
        parser.add_argument("--timeout", type=float, metavar="S", help="end after S seconds")

    def handle(self, *args: Any, **options: Any) -> None:
        """Listen until interrupted, or until --count or --timeout."""
        count, seconds = options["count"], options["timeout"]
        if count is not None and count < 1:
            raise CommandError("--count is 1 or more.")
        with refusals_as_command_errors():
            token = self._token(options)
        listener = _Listener(self, options["pattern"], count)
        try:
            config = NotificationClientConfig(url=options["url"], auth=token)
        except ValueError as error:
            raise CommandError(f"{error} Give a --url such as ws://127.0.0.1:8000/ws.") from error
        try:
            asyncio.run(listener.listen(NotificationClient(config), seconds))
        except TimeoutError as error:
            if count is not None:
                raise CommandError(
                    f"{listener.printed} of {count} messages came within {seconds:g} seconds."
                ) from error
        except ConnectionError as error:
            raise CommandError(f"{error} {error.hint}") from error
        except NotificationError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            # Whoever read our lines has gone; let nothing be flushed to it at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _token(self, options: dict[str, Any]) -> str | Callable[[], str]:
        if options["token"]:
            return str(options["token"])
        user = user_named(options["user"]) if options["user"] else first_superuser()
        return lambda: issue_access_token(user).access


class _Listener:
    """One run of the command. printed: the messages so far."""

    def __init__(self, command: Command, pattern: str, count: int | None) -> None:
        self.printed = 0
        self._command = command
        self._pattern = pattern
        self._count = count

    async def listen(self, client: NotificationClient, seconds: float | None) -> None:
        """Print messages; raises TimeoutError after the given seconds."""
        client.on_state_change(self._state)
        client.on_event(self._event)
        async with asyncio.timeout(seconds), client, client.stream(self._pattern) as messages:
            await messages.ready()
            self._say(f"listening to {self._pattern}")
            async for message in messages:
                self._print(message)
                if self.printed == self._count:
                    return

    def _print(self, message: NotificationMessage[Any]) -> None:
        self._command.stdout.write(json.dumps(_fields_of(message), ensure_ascii=False))
        self._command.stdout.flush()
        self.printed += 1

    def _state(self, state: ConnectionState) -> None:
        match state.status:
            case "connected":
                self._say(f"connected: to {state.server_id}")
            case "reconnecting":
                self._say(f"disconnected: {state.last_error}")

    def _event(self, event: ClientEvent) -> None:
        match event:
            case Recovered(count=count):
                self._say(f"recovered: {count} messages were replayed")
            case Gap(reason=reason):
                self._say(f"gap: messages may be missing: {reason}")
            case ServerError(error=error):
                self._say(f"error: {error}")
            case UnreadableFrame(detail=detail):
                self._say(f"error: a frame was left out: {detail}")

    def _say(self, text: str) -> None:
        self._command.stderr.write(text, style_func=str)


def _fields_of(message: NotificationMessage[Any]) -> dict[str, Any]:
    """Return a message as the wire has it, without its type."""
    metadata = message.metadata
    fields = {
        "id": message.id,
        "topic": message.topic,
        "payload": message.payload,
        "timestamp": _text_of(message.timestamp),
        "metadata": None
        if metadata is None
        else _present(
            priority=metadata.priority,
            expiresAt=None if metadata.expires_at is None else _text_of(metadata.expires_at),
            correlationId=metadata.correlation_id,
            source=metadata.source,
        ),
        "seq": message.seq,
        "position": message.position,
        "replayed": message.replayed or None,
    }
    return {key: value for key, value in fields.items() if value is not None or key == "payload"}


def _present(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}


def _text_of(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
