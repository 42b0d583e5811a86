"""Notice every change of access, through whatever door it comes, and announce it.

QuerySet.update() sends no signal: whoever changes access with it has to announce it themselves.
"""

from typing import Any

from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from accounts.models import ApiKey, TopicGrant, User
from accounts.refresh import revoke_families_of
from accounts.signals import announce_access_changed

_SAYS_NOTHING = frozenset({"last_login"})  # fields of a user that bear on no permission


@receiver(post_save, sender=User)
def user_saved(
    *, instance: User, created: bool, update_fields: frozenset[str] | None, **_: Any
) -> None:
    """Announce a changed user; end its logins when the password is another one."""
    if created or (update_fields is not None and update_fields <= _SAYS_NOTHING):
        return
    # Django sets _password while a new password is being saved, and not when it only rehashes.
    if instance._password is not None:  # type: ignore[attr-defined]
        revoke_families_of(instance)
    announce_access_changed(principal_id=instance.principal_id)


@receiver(post_save, sender=ApiKey)
def key_saved(*, instance: ApiKey, created: bool, **_: Any) -> None:
    """Announce a changed API key."""
    if not created:
        announce_access_changed(principal_id=instance.principal_id)


@receiver(post_delete, sender=User)
@receiver(post_delete, sender=ApiKey)
def holder_deleted(*, instance: User | ApiKey, **_: Any) -> None:
    """Announce that a user or an API key is gone."""
    announce_access_changed(principal_id=instance.principal_id)


@receiver(post_save, sender=TopicGrant)
@receiver(post_delete, sender=TopicGrant)
def grant_changed(*, instance: TopicGrant, **_: Any) -> None:
    """Announce that a holder has other grants."""
    if instance.user_id is not None:
        announce_access_changed(principal_id=f"user:{instance.user_id}")
    if instance.api_key_id is not None:
        # Asked anew: where the grant goes because its key went, the key is there no more, and
        # has been announced itself.
        for key in ApiKey.objects.filter(pk=instance.api_key_id):
            announce_access_changed(principal_id=key.principal_id)
