"""Users and API keys by name, as commands are told them."""

from django.core.management.base import CommandError

from accounts.models import ApiKey, User


def user_named(name: str) -> User:
    """Return an active user; raises CommandError."""
    user = User.objects.filter(username=User.normalize_username(name)).first()
    if user is None:
        raise CommandError(
            f"There is no user {name!r}. Make one with `manage.py create_user {name} --password …`."
        )
    if not user.is_active:
        raise CommandError(f"The user {name!r} is not active. Activate it in the admin.")
    return user


def first_superuser() -> User:
    """Return the oldest active superuser; raises CommandError."""
    user = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
    if user is None:
        raise CommandError(
            "There is no superuser in this database. Name a user with --user, give a --token, "
            "or make one with `manage.py createsuperuser`."
        )
    return user


def holder_named(name: str, kind: str | None) -> User | ApiKey:
    """Return the user or the API key in force of that name; raises CommandError.

    kind: "user", "key", or None for whichever there is.
    """
    user = User.objects.filter(username=User.normalize_username(name)).first()
    key = ApiKey.objects.filter(name=name, revoked_at=None).first()
    match kind:
        case "user":
            key = None
        case "key":
            user = None
        case _ if user is not None and key is not None:
            raise CommandError(
                f"A user and an API key are named {name!r}. Choose with --kind user or --kind key."
            )
    holder = user or key
    if holder is None:
        what = {"user": "user", "key": "API key in force"}.get(kind or "", "user or API key")
        raise CommandError(f"There is no {what} named {name!r}.")
    return holder
