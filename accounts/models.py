"""Users, what they hold to prove themselves, and what they may do."""

import uuid
from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.grants import validate_pattern


class User(AbstractUser):
    """A person or a service that logs in with a password."""

    @property
    def principal_id(self) -> str:
        """Name this user as `Principal.id` does."""
        return f"user:{self.pk}"


class ApiKey(models.Model):
    """A secret for programs; only its HMAC is kept, and its name is free again once revoked."""

    name = models.CharField(max_length=150)
    identifier = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)  # hex HMAC-SHA256 of the secret
    owner = models.ForeignKey(
        User,
        # A key must not outlive whoever answers for it.
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="api_keys",
        help_text="The key stops working when its owner is deactivated.",
    )
    is_admin = models.BooleanField("admin scope", default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="To the minute."
    )

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"
        ordering: ClassVar = ["name", "-created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(revoked_at=None),
                name="api_key_name_unique_in_force",
                violation_error_message="An API key in force has this name already.",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a name that a key in force has."""
        super().clean()
        # Here too, because Django skips the constraint for forms that leave out revoked_at.
        for constraint in self._meta.constraints:
            constraint.validate(type(self), self)

    @property
    def principal_id(self) -> str:
        """Name this key as `Principal.id` does."""
        return f"key:{self.identifier}"


class TokenFamily(models.Model):
    """All tokens that descend from one login; revoking it ends every one of them."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="token_families")
    created_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "token families"
        ordering: ClassVar = ["-created_at"]
        indexes: ClassVar = [
            # Servers look for late revocations every few seconds; few families are ever revoked.
            models.Index(
                fields=["revoked_at"],
                condition=models.Q(revoked_at__isnull=False),
                name="families_by_revocation",
            )
        ]

    def __str__(self) -> str:
        return str(self.id)


class RefreshToken(models.Model):
    """One link of a family's chain: good for one use, kept as a digest only."""

    family = models.ForeignKey(TokenFamily, on_delete=models.CASCADE, related_name="refresh_tokens")
    digest = models.CharField(max_length=64, unique=True, editable=False)  # hex SHA-256
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"refresh token {self.pk}"


class TopicGrant(models.Model):
    """Leave for one user or one API key to publish to, or subscribe inside of, a pattern."""

    class Action(models.TextChoices):
        """What a grant allows."""

        PUBLISH = "publish"
        SUBSCRIBE = "subscribe"

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, null=True, blank=True, related_name="topic_grants"
    )
    api_key = models.ForeignKey(
        ApiKey,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="topic_grants",
        verbose_name="API key",
    )
    action = models.CharField(max_length=9, choices=Action)
    pattern = models.CharField(max_length=255)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering: ClassVar = ["action", "pattern"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(user=None, api_key__isnull=False) | Q(user__isnull=False, api_key=None),
                name="topic_grant_one_holder",
                violation_error_message="Choose either a user or an API key.",
            ),
            models.CheckConstraint(
                condition=Q(action__in=["publish", "subscribe"]), name="topic_grant_action_known"
            ),
            # NULLs are distinct, so each of these binds the rows of its own kind of holder only.
            # A condition would say so, but then inline forms would not see duplicates.
            models.UniqueConstraint(
                fields=["user", "action", "pattern"], name="topic_grant_unique_per_user"
            ),
            models.UniqueConstraint(
                fields=["api_key", "action", "pattern"], name="topic_grant_unique_per_key"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.pattern}"

    def clean(self) -> None:
        """Refuse a pattern outside the grammar of topics."""
        super().clean()
        if self.pattern:  # an empty one is reported by its field
            validate_pattern(self.pattern)
