"""Make what a first look needs: a user, an API key, a line to try."""

import json
import os
import secrets
import shlex
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.authentication import authenticate_credentials
from accounts.errors import CredentialsError
from accounts.models import ApiKey, User
from accounts.services import create_api_key, ensure_user, grant, revoke_api_key
from notifications.management.refusals import refusals_as_command_errors

NAME = "demo"


class Command(BaseCommand):
    """Make or find the demo user and its API key, and print how to use them.

    Both secrets are kept in var/demo.json, readable by its owner only, so that the next start
    prints the same ones.
    """

    help = "Make a demo user (a superuser) and an API key; for development only."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add where the server will be."""
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="default: %(default)s")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make what is missing, and print URL, log-in and a curl line."""
        if not settings.DEBUG:
            raise CommandError(
                "prepare_demo makes a superuser whose password is printed, so it runs with "
                "DEBUG=1 only. Use create_user and create_api_key here."
            )
        url = str(options["url"]).rstrip("/")
        path = Path(settings.BASE_DIR) / "var" / "demo.json"
        kept = _read(path)
        with refusals_as_command_errors():
            password = kept.get("password") or secrets.token_urlsafe(9)
            user = _demo_user(password)
            key = _demo_key(user, kept.get("key"))
        _write(path, {"password": password, "key": key})
        self.stdout.write(f"Open    {url}/")
        self.stdout.write(f"Log in  {NAME} / {password}")
        self.stdout.write(f"Try     {_curl(url, key, user)}")


def _demo_user(password: str) -> User:
    user, _ = ensure_user(username=NAME, password=password)
    if not (user.check_password(password) and user.is_superuser and user.is_active):
        user.set_password(password)
        user.is_superuser = user.is_staff = user.is_active = True
        user.save()
    return user


def _demo_key(user: User, kept: str | None) -> str:
    """Return the kept key if it still opens this database, else a new one in place of any other."""
    patterns = [f"user.{user.pk}.**"]
    key = ApiKey.objects.filter(name=NAME, revoked_at=None).first()
    if key is not None:
        if kept is not None and _proves(kept, key):
            grant(key, publish=patterns, subscribe=patterns)
            return kept
        revoke_api_key(key)
    _, text = create_api_key(name=NAME, publish=patterns, subscribe=patterns, owner=user)
    return text


def _proves(text: str, key: ApiKey) -> bool:
    try:
        return authenticate_credentials(text).id == key.principal_id
    except CredentialsError:
        return False


def _read(path: Path) -> dict[str, str]:
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}  # the first start, or a file that somebody broke: secrets are made anew
    return {str(name): str(value) for name, value in kept.items()} if isinstance(kept, dict) else {}


def _write(path: Path, secrets_: dict[str, str]) -> None:
    path.parent.mkdir(exist_ok=True)
    # Made with its final mode: at no moment can others read it.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(secrets_, file)


def _curl(url: str, key: str, user: User) -> str:
    body = {"topic": f"user.{user.pk}.orders", "payload": {"id": 123, "state": "paid"}}
    return " ".join(
        (
            f"curl {url}/api/v1/publish",
            f"-H {shlex.quote(f'Authorization: Api-Key {key}')}",
            "-H 'Content-Type: application/json'",
            f"-d {shlex.quote(json.dumps(body))}",
        )
    )
