"""Publishing: validate, save, send to the group."""

from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bench.baseline.models import Notification


class NotificationSerializer(serializers.Serializer[Notification]):
    """What a publisher sends."""

    topic = serializers.RegexField(r"^[\w.-]+$", max_length=100)
    payload = serializers.JSONField()


class PublishView(APIView):
    """POST a notification."""

    def post(self, request: Request) -> Response:
        """Save it, send it, and answer with its id."""
        serializer = NotificationSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        notification = Notification.objects.create(**serializer.validated_data)
        async_to_sync(get_channel_layer().group_send)(
            notification.topic, {"type": "notify", "data": notification.payload}
        )
        return Response(
            {
                "id": notification.pk,
                "topic": notification.topic,
                "created_at": notification.created_at,
            },
            status=201,
        )


class PublishBatchView(APIView):
    """POST many notifications."""

    def post(self, request: Request) -> Response:
        """Save them in one transaction, and answer with their ids.

        They are not sent to their groups: a `group_send` for each would be most of the time.
        """
        body: Any = request.data
        serializer = NotificationSerializer(data=body["messages"], many=True)
        serializer.is_valid(raise_exception=True)
        with transaction.atomic():
            saved = Notification.objects.bulk_create(
                Notification(**notification) for notification in serializer.validated_data
            )
        return Response({"ids": [notification.pk for notification in saved]}, status=201)


async def ready(request: HttpRequest) -> HttpResponse:
    """Answer as soon as requests are served."""
    return HttpResponse("ok")
