"""Set, show and delete topic policies."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from notifications.management.refusals import refusals_as_command_errors
from notifications.models import TopicPolicy


class Command(BaseCommand):
    """Change the policy of a pattern; what is not named stays as it is."""

    help = "Set the policy of the topics under a pattern, show it, or delete it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the pattern and the rules."""
        parser.add_argument("pattern", help="a topic or pattern such as user.*.typing")
        parser.add_argument(
            "--ttl", type=int, metavar="SECONDS", help="messages are not delivered after this time"
        )
        parser.add_argument(
            "--payload-bytes", type=int, metavar="N", help="largest payload as compact JSON"
        )
        parser.add_argument("--delete", action="store_true", help="delete the policy")

    def handle(self, *args: Any, **options: Any) -> None:
        """Set what is named, then show the policy. Servers follow within two seconds."""
        rules = {name: options[name] for name in ("ttl", "payload_bytes") if options[name]}
        for name, value in ((name, options[name]) for name in ("ttl", "payload_bytes")):
            if value is not None and value < 1:
                raise CommandError(f"--{name.replace('_', '-')} is 1 or more.")
        with refusals_as_command_errors():
            policy = TopicPolicy.objects.filter(pattern=options["pattern"]).first()
            if options["delete"]:
                self._delete(policy, options["pattern"], rules)
                return
            if policy is None:
                if not rules:
                    raise CommandError(
                        f"{options['pattern']!r} has no policy. Set one with --ttl or "
                        "--payload-bytes."
                    )
                policy = TopicPolicy(pattern=options["pattern"])
            if rules:
                for name, value in rules.items():
                    setattr(policy, name, value)
                policy.full_clean()
                policy.save()
        self.stdout.write(
            f"{policy.pattern} ttl={policy.ttl or 'none'} "
            f"payload-bytes={policy.payload_bytes or 'general'}"
        )

    def _delete(self, policy: TopicPolicy | None, pattern: str, rules: dict[str, int]) -> None:
        if rules:
            raise CommandError("Give either rules or --delete.")
        if policy is None:
            raise CommandError(f"{pattern!r} has no policy; nothing was deleted.")
        policy.delete()
        self.stdout.write(f"{pattern} deleted")
