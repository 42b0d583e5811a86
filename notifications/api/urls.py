"""Paths below /api/."""

from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from notifications.api.deliveries import DeliveriesView
from notifications.api.fallbacks import unknown_path
from notifications.api.policies import PoliciesView, PolicyView
from notifications.api.publishing import PublishBatchView, PublishView
from notifications.api.sessions import DisconnectView, SessionsView, SessionView
from notifications.api.stats import StatsView
from notifications.api.subscriptions import SubscriptionsView, SubscriptionView
from notifications.api.topics import TopicMessagesView, TopicsView, TopicView

v1 = [
    path("publish", PublishView.as_view(), name="publish"),
    path("publish/batch", PublishBatchView.as_view(), name="publish-batch"),
    path("topics", TopicsView.as_view(), name="topics"),
    path("topics/<str:topic>", TopicView.as_view(), name="topic"),
    path("topics/<str:topic>/messages", TopicMessagesView.as_view(), name="topic-messages"),
    path("sessions", SessionsView.as_view(), name="sessions"),
    path("sessions/<str:id>", SessionView.as_view(), name="session"),
    path("sessions/<str:id>/disconnect", DisconnectView.as_view(), name="session-disconnect"),
    path(
        "sessions/<str:id>/subscriptions", SubscriptionsView.as_view(), name="session-subscriptions"
    ),
    path(
        "sessions/<str:id>/subscriptions/<str:subscriptionId>",
        SubscriptionView.as_view(),
        name="session-subscription",
    ),
    path("messages/<str:id>/deliveries", DeliveriesView.as_view(), name="message-deliveries"),
    path("policies", PoliciesView.as_view(), name="policies"),
    path("policies/<str:pattern>", PolicyView.as_view(), name="policy"),
    path("stats", StatsView.as_view(), name="stats"),
]

urlpatterns = [
    path("v1/auth/", include("accounts.api_urls")),
    path("v1/", include(v1)),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    # With this route, and not by a 404 handler only, an unknown path is a problem under DEBUG too.
    re_path(r"", unknown_path),
]
