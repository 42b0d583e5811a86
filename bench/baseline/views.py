"""Publishing: validate, save, send to the group."""

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
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


async def ready(request: HttpRequest) -> HttpResponse:
    """Answer as soon as requests are served."""
    return HttpResponse("ok")
