"""Call a command as a test does."""

from io import StringIO
from typing import Any

from django.core.management import call_command


def call(name: str, *arguments: Any, **options: Any) -> str:
    """Run a command in this process and return what it printed on stdout."""
    out = StringIO()
    call_command(name, *arguments, stdout=out, **options)
    return out.getvalue()
