"""The baseline's paths."""

from django.urls import path, re_path

from bench.baseline.consumers import NotificationConsumer
from bench.baseline.views import PublishBatchView, PublishView, ready

urlpatterns = [
    path("publish", PublishView.as_view()),
    path("publish/batch", PublishBatchView.as_view()),
    path("ready", ready),
]
websocket_urlpatterns = [re_path(r"^ws/(?P<topic>[\w.-]+)/$", NotificationConsumer.as_asgi())]
