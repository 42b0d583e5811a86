"""The log: what was published, where it stands."""

import uuid
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from notifications.admin.pages import ViewOnlyAdmin, ago, excerpt, linked, listed, pretty_json
from notifications.models import IdempotencyKey, Log, Message, Partition, Topic

EXCERPT = 80
"""Characters of a payload that the list shows."""


@admin.register(Message)
class MessageAdmin(ViewOnlyAdmin):
    """Messages, the newest first.

    Sorted by id only, which is the order of publishing: any other order would sort the table.
    """

    list_display = ("published", "in_topic", "seq", "position", "beginning_", "publisher")
    list_filter = ("partition",)
    list_select_related = ("topic",)
    ordering = ("-id",)
    sortable_by = ("published",)
    search_fields = ("topic__name",)
    search_help_text = "Beginning of a topic, or the id of a message"
    fieldsets = (
        (None, {"fields": ("id", "in_topic", "pretty_payload", "pretty_metadata")}),
        ("Place", {"fields": ("position", "seq")}),
        ("Publication", {"fields": ("publisher", "published_at", "expires_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        """Bring the beginning of each payload, not the whole; the page of one reads the rest."""
        queryset: QuerySet[Message] = super().get_queryset(request)
        beginning = Left("payload", EXCERPT + 1)
        return queryset.defer("payload", "metadata").annotate(beginning=beginning)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by what has an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=uuid.UUID(term)), False
        except ValueError:
            topics = Topic.objects.filter(name__startswith=term)
            return queryset.filter(topic__in=topics), False

    @admin.display(description="published", ordering="id")
    def published(self, message: Message) -> SafeString | str:
        """Show how long ago."""
        return ago(message.published_at, now=timezone.now())

    @admin.display(description="topic")
    def in_topic(self, message: Message) -> SafeString:
        """Link to the other messages of the topic."""
        return listed(Message, message.topic.name, topic__id__exact=message.topic_id)

    @admin.display(description="position")
    def position(self, message: Message) -> str:
        """Show partition and offset."""
        return f"{message.partition_id}:{message.offset}"

    @admin.display(description="payload")
    def beginning_(self, message: Message) -> SafeString:
        """Show how the payload begins."""
        return excerpt(str(getattr(message, "beginning", "")), EXCERPT)

    @admin.display(description="payload")
    def pretty_payload(self, message: Message) -> SafeString | str:
        """Show the whole payload as text."""
        return pretty_json(message.payload)

    @admin.display(description="metadata")
    def pretty_metadata(self, message: Message) -> SafeString | str:
        """Show the metadata as text."""
        return pretty_json(message.metadata)


@admin.register(Topic)
class TopicAdmin(ViewOnlyAdmin):
    """Topics and how much was published to them."""

    list_display = ("name", "messages", "partition_id", "last_published", "created_at")
    list_filter = ("partition",)
    sortable_by = ("name",)
    search_fields = ("name__startswith",)
    search_help_text = "Beginning of a topic"
    fields = ("name", "messages", "partition", "created_at", "last_published_at")

    @admin.display(description="messages ever")
    def messages(self, topic: Topic) -> SafeString:
        """Link to the messages that are still kept."""
        return listed(Message, topic.seq, topic__id__exact=topic.pk)

    @admin.display(description="last message")
    def last_published(self, topic: Topic) -> SafeString | str:
        """Show how long ago."""
        return ago(topic.last_published_at, now=timezone.now())


@admin.register(Partition)
class PartitionAdmin(ViewOnlyAdmin):
    """The partitions of the log and how far they go."""

    list_display = ("number", "head", "floor", "kept", "topics")
    fields = ("id", "head", "floor", "kept", "topics")

    @admin.display(description="partition", ordering="id")
    def number(self, partition: Partition) -> str:
        """Show the number."""
        return str(partition.pk)

    @admin.display(description="messages kept")
    def kept(self, partition: Partition) -> SafeString:
        """Link to the messages above the floor."""
        return listed(Message, partition.head - partition.floor, partition__id__exact=partition.pk)

    @admin.display(description="topics")
    def topics(self, partition: Partition) -> SafeString:
        """Link to the topics that live here."""
        return listed(Topic, "show", partition__id__exact=partition.pk)


@admin.register(Log)
class LogAdmin(ViewOnlyAdmin):
    """The log's epoch and size; `manage.py new_epoch` changes the first, nothing the second."""

    list_display = ("epoch", "partition_count", "created_at")
    fields = ("epoch", "partition_count", "created_at")


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ViewOnlyAdmin):
    """What a retry is answered with."""

    list_display = ("key", "publisher", "topic", "seq", "message", "published")
    ordering = ("-published_at",)
    sortable_by = ("published",)
    search_fields = ("key__startswith", "publisher__exact", "topic__startswith")
    search_help_text = "Beginning of a key or topic, or a whole publisher (user:7)"
    fields = ("key", "publisher", "topic", "seq", "message", "position", "published_at")

    @admin.display(description="message")
    def message(self, key: IdempotencyKey) -> SafeString | str:
        """Link to the message, which may have been purged."""
        return linked(Message(id=key.message_id))

    @admin.display(description="position")
    def position(self, key: IdempotencyKey) -> str:
        """Show partition and offset."""
        return f"{key.partition}:{key.offset}"

    @admin.display(description="published", ordering="published_at")
    def published(self, key: IdempotencyKey) -> SafeString | str:
        """Show how long ago."""
        return ago(key.published_at, now=timezone.now())
