"""What the domain refuses, said as a command says it."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import DatabaseError

from accounts.errors import AccountsError
from notifications.errors import NotificationError
from notifications.models import Log


@contextmanager
def refusals_as_command_errors() -> Iterator[None]:
    """Turn every refusal of the domain or the database into a CommandError with its message."""
    try:
        yield
    except NotificationError as error:
        raise CommandError(f"{error.code}: {error.message}") from error
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from error
    except AccountsError as error:
        raise CommandError(str(error)) from error
    except (Log.DoesNotExist, DatabaseError) as error:
        raise CommandError(
            f"The database cannot be used: {str(error).strip()} "
            "Check DATABASE_URL, and run `manage.py migrate` if that was not done."
        ) from error
