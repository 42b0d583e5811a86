"""The doors of the site: pages, REST, admin, health."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("account/", include("accounts.urls")),
    path("", include("notifications.urls")),
]

# Below /api/ they answer application/problem+json, elsewhere as Django does.
handler400 = "notifications.api.fallbacks.bad_request"
handler404 = "notifications.api.fallbacks.page_not_found"
handler500 = "notifications.api.fallbacks.server_error"
