"""Set, show and delete topic policies."""

from argparse import ArgumentTypeError, BooleanOptionalAction
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.errors import BadFrame
from notifications.management.refusals import refusals_as_command_errors
from notifications.models import TopicPolicy
from notifications.services.policies import RULES, delete_policy, set_policy
from notifications.topics.handling import Overflow

CLEAR = "none"
"""The value that clears a rule."""

NUMBERS = {
    "ttl": ("SECONDS", "messages are not delivered after this time"),
    "retention": ("SECONDS", "older messages are purged"),
    "retention_count": ("N", "of each topic the newest N messages are kept"),
    "retention_bytes": ("N", "of each topic the newest N payload bytes are kept"),
    "idempotency": ("SECONDS", "how long a retry with the same key gets the first answer"),
    "payload_bytes": ("N", "largest payload as compact JSON"),
    "replay_messages": ("N", "most messages of these topics in one replay"),
    "batch_size": ("N", "most live messages in one batch"),
    "batch_delay": ("MS", "how long live messages are gathered"),
    "ack_timeout": ("S", "an unacknowledged message is delivered again after this time"),
    "ack_attempts": ("N", "deliveries until a message counts as undelivered"),
}


class Command(BaseCommand):
    """Change the policy of a pattern; what is not named stays as it is."""

    help = (
        "Set the policy of the topics under a pattern, show it, or delete it. "
        "The value `none` clears a rule."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the pattern and the rules."""
        parser.add_argument("pattern", help="a topic or pattern such as user.*.typing")
        kept = parser.add_mutually_exclusive_group()
        kept.add_argument(
            "--ephemeral",
            action="store_true",
            default=None,
            help="messages are relayed to whoever is there and not kept",
        )
        kept.add_argument(
            "--durable",
            action="store_false",
            dest="ephemeral",
            help="messages are kept in the log, as they are without a policy",
        )
        for name, (unit, meaning) in NUMBERS.items():
            parser.add_argument(_option(name), type=_value, metavar=unit, help=meaning)
        parser.add_argument(
            "--overflow",
            choices=(*map(str, Overflow), CLEAR),
            help="what gives way when a connection does not keep up (ephemeral topics only)",
        )
        parser.add_argument(
            "--acknowledged",
            action=BooleanOptionalAction,
            help="messages are delivered again until they are acknowledged",
        )
        parser.add_argument("--delete", action="store_true", help="delete the policy")

    def handle(self, *args: Any, **options: Any) -> None:
        """Set what is named, then show the policy. Servers follow within two seconds."""
        pattern = options["pattern"]
        rules = {
            name: None if options[name] == CLEAR else options[name]
            for name in RULES
            if options[name] is not None
        }
        with refusals_as_command_errors():
            if options["delete"]:
                self._delete(pattern, rules)
                return
            try:
                policy = (
                    set_policy(pattern, rules)
                    if rules
                    else TopicPolicy.objects.filter(pattern=pattern).first()
                )
            except BadFrame as error:
                raise CommandError(error.message) from error
        if policy is None:
            raise CommandError(
                f"{pattern!r} has no policy. Set one with --ephemeral, --ttl or another option."
            )
        self.stdout.write(" ".join([pattern, *_shown(policy)]))

    def _delete(self, pattern: str, rules: dict[str, Any]) -> None:
        if rules:
            raise CommandError("Give either rules or --delete.")
        if not delete_policy(pattern):
            raise CommandError(f"{pattern!r} has no policy; nothing was deleted.")
        self.stdout.write(f"{pattern} deleted")


def _shown(policy: TopicPolicy) -> list[str]:
    """Show what is set, as the options name it."""
    shown = ["ephemeral" if policy.ephemeral else "durable"]
    if policy.acknowledged:
        shown.append("acknowledged")
    for name in (*NUMBERS, "overflow"):
        if (value := getattr(policy, name)) is not None:
            shown.append(f"{_option(name)[2:]}={value}")
    return shown


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _value(text: str) -> int | str:
    if text == CLEAR:
        return text
    try:
        return int(text)
    except ValueError:
        raise ArgumentTypeError(f"give a whole number, or {CLEAR!r} to clear it") from None
