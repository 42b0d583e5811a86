"""The operator's pages. Secrets are never shown, except an API key's, once, when it is made.

Django's admin classes take type arguments in their stubs only, hence the ignores.
"""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from accounts.models import ApiKey, RefreshToken, TokenFamily, TopicGrant, User
from accounts.refresh import revoke
from accounts.services import give_secret, revoke_api_key


class TopicGrantInline(admin.TabularInline):  # type: ignore[type-arg]
    """Grants on the page of their holder."""

    model = TopicGrant
    extra = 0
    fields = ("action", "pattern", "created_at")
    readonly_fields = ("created_at",)


class UserGrantInline(TopicGrantInline):
    """Grants of a user."""

    fk_name = "user"


class ApiKeyGrantInline(TopicGrantInline):
    """Grants of an API key."""

    fk_name = "api_key"


@admin.register(User)
class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]
    """Users, with their grants."""

    list_display = ("username", "email", "is_active", "is_staff", "is_superuser", "last_login")
    inlines = (UserGrantInline,)


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """API keys: made here, shown once, revoked here."""

    list_display = (
        "name",
        "identifier",
        "owner",
        "is_admin",
        "is_in_force",
        "created_at",
        "expires_at",
        "last_used_at",
    )
    list_filter = ("is_admin", ("revoked_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "identifier", "owner__username")
    date_hierarchy = "created_at"
    autocomplete_fields = ("owner",)
    fields = (
        ("name", "identifier"),
        "digest",
        "owner",
        "is_admin",
        ("created_at", "expires_at"),
        ("last_used_at", "revoked_at"),
    )
    readonly_fields = ("identifier", "digest", "created_at", "last_used_at", "revoked_at")
    inlines = (ApiKeyGrantInline,)
    actions = ("revoke_keys",)

    @admin.display(description="in force", boolean=True, ordering="revoked_at")
    def is_in_force(self, key: ApiKey) -> bool:
        """Show whether the key has not been revoked."""
        return key.revoked_at is None

    def save_model(
        self, request: HttpRequest, obj: ApiKey, form: "ModelForm[ApiKey]", change: bool
    ) -> None:
        """Give a new key its secret, and show it this once."""
        if change:
            super().save_model(request, obj, form, change)
            return
        text = give_secret(obj)
        super().save_model(request, obj, form, change)
        messages.warning(request, f"Copy this key now, it is not shown again: {text}")

    @admin.action(description="Revoke the selected API keys", permissions=["change"])
    def revoke_keys(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """End keys for good."""
        revoked = [key for key in queryset if revoke_api_key(key)]
        _report(self, request, revoked)


class RefreshTokenInline(admin.TabularInline):  # type: ignore[type-arg]
    """The chain of a family, without the digests."""

    model = RefreshToken
    extra = 0
    fields = ("created_at", "expires_at", "used_at")
    readonly_fields = fields
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: TokenFamily | None = None) -> bool:
        """Refuse: tokens come from logins only."""
        return False


@admin.register(TokenFamily)
class TokenFamilyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Logins through REST: to look at and to revoke."""

    list_display = ("id", "user", "created_at", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("user",)
    search_fields = ("id", "user__username")
    date_hierarchy = "created_at"
    inlines = (RefreshTokenInline,)
    actions = ("revoke_families",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: families come from logins only."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: TokenFamily | None = None) -> bool:
        """Refuse: nothing here is to be edited."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Let those revoke who may change families by Django's permissions."""
        return request.user.has_perm("accounts.change_tokenfamily")

    @admin.action(description="Revoke the selected token families", permissions=["revoke"])
    def revoke_families(self, request: HttpRequest, queryset: QuerySet[TokenFamily]) -> None:
        """End logins; their sockets close."""
        revoked = [family for family in queryset if revoke(family)]
        _report(self, request, revoked)


@admin.register(TopicGrant)
class TopicGrantAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """All grants at once: who may read or write a topic."""

    list_display = ("pattern", "action", "user", "api_key", "created_at")
    list_filter = ("action", "created_at")
    list_select_related = ("user", "api_key")
    search_fields = ("pattern", "user__username", "api_key__name")
    date_hierarchy = "created_at"
    autocomplete_fields = ("user", "api_key")
    readonly_fields = ("created_at",)


def _report(page: "admin.ModelAdmin[Any]", request: HttpRequest, revoked: "list[Any]") -> None:
    """Write the revocations to the admin's log, and say how many there were."""
    for each in revoked:
        page.log_change(request, each, "Revoked.")
    messages.success(request, f"Revoked: {len(revoked)}.")
