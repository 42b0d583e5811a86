"""Listen to topics from the command line."""

import asyncio
import contextlib
import os
import sys
from typing import Any

import msgspec
from django.core.management.base import BaseCommand, CommandError, CommandParser
from websockets.exceptions import InvalidURI

from accounts.tokens import issue_access_token
from notifications.client import ConnectionEnded, Event, Message, NotificationClient
from notifications.client.client import Token
from notifications.errors import NotificationError
from notifications.management.holders import first_superuser, user_named
from notifications.management.refusals import refusals_as_command_errors

FAREWELL_SECONDS = 1.0
"""Time for taking the subscription back at the end."""


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
            client = NotificationClient(options["url"], token=token, on_event=self._status)
            asyncio.run(listener.listen(client, seconds))
        except InvalidURI as error:
            raise CommandError(f"{error} Give a --url such as ws://127.0.0.1:8000/ws.") from error
        except TimeoutError as error:
            if count is not None:
                raise CommandError(
                    f"{listener.printed} of {count} messages came within {seconds:g} seconds."
                ) from error
        except ConnectionEnded as error:
            raise CommandError(str(error)) from error
        except NotificationError as error:
            raise CommandError(f"{error.code}: {error.message}") from error
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:
            # Whoever read our lines has gone; let nothing be flushed to it at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _token(self, options: dict[str, Any]) -> Token:
        if options["token"]:
            return str(options["token"])
        user = user_named(options["user"]) if options["user"] else first_superuser()
        return lambda: issue_access_token(user).access

    def _status(self, event: Event) -> None:
        if event.data.get("code") != 1000:
            self.stderr.write(f"{event.kind}: {event.text}", style_func=str)


class _Listener:
    """One run of the command. printed: the messages so far."""

    def __init__(self, command: Command, pattern: str, count: int | None) -> None:
        self.printed = 0
        self._command = command
        self._pattern = pattern
        self._count = count

    async def listen(self, client: NotificationClient, seconds: float | None) -> None:
        """Print messages; raises TimeoutError after the given seconds."""
        async with asyncio.timeout(seconds), client:
            await client.subscribe(self._pattern)
            self._command.stderr.write(f"listening to {self._pattern}", style_func=str)
            try:
                async for message in client:
                    self._print(message)
                    if self.printed == self._count:
                        return
            finally:
                await self._take_back(client)

    def _print(self, message: Message) -> None:
        fields = msgspec.to_builtins(message)
        del fields["type"]
        self._command.stdout.write(msgspec.json.encode(fields).decode())
        self._command.stdout.flush()
        self.printed += 1

    async def _take_back(self, client: NotificationClient) -> None:
        # This client id never comes again; the server need not keep its subscription.
        with contextlib.suppress(TimeoutError, ConnectionEnded, NotificationError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await client.unsubscribe(self._pattern)
