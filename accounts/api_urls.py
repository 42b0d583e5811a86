"""Paths below /api/v1/auth/."""

from django.urls import path

from accounts.api import RefreshView, RevokeView, TokenView

urlpatterns = [
    path("token", TokenView.as_view(), name="auth-token"),
    path("refresh", RefreshView.as_view(), name="auth-refresh"),
    path("revoke", RevokeView.as_view(), name="auth-revoke"),
]
