"""What others may listen to. All are sent after the commit, in the thread that committed.

A receiver that raises is logged and does not undo what happened.
"""

from django.db import transaction
from django.dispatch import Signal

family_revoked = Signal()
"""A token family ended: `family` (str), `user_id` (int). Its sockets have to close."""

access_changed = Signal()
"""What a principal may do has changed or ended: `principal_id` (str, as in Principal.id).

`accounts.authentication.reload_principal` tells what it may do now.
"""


def announce_family_revoked(*, family: str, user_id: int) -> None:
    """Send `family_revoked` once the transaction is committed."""
    transaction.on_commit(
        lambda: _log_failures(family_revoked, family=family, user_id=user_id), robust=True
    )


def announce_access_changed(*, principal_id: str) -> None:
    """Send `access_changed` once the transaction is committed."""
    transaction.on_commit(
        lambda: _log_failures(access_changed, principal_id=principal_id), robust=True
    )


def _log_failures(signal: Signal, **named: object) -> None:
    # send_robust logs what a receiver raises, and goes on to the next one.
    signal.send_robust(sender=None, **named)
