"""Every path of this app; include it at the root of the site."""

from django.urls import include, path

from notifications import views

urlpatterns = [
    path("", views.dashboard, name="dashboard"),
    path("dashboard/token", views.dashboard_token, name="dashboard-token"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics, name="metrics"),
    path("ws", views.upgrade_required, name="ws"),
    path("api/", include("notifications.api.urls")),
]
