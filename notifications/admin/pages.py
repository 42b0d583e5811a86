"""What the pages have in common: view only, bounded counts, how values are shown.

Whatever is shown is hostile text until it is escaped: topics, client ids and payloads come from
strangers. Styles are classes in a static file, because the Content-Security-Policy lets no
inline style in.
"""

import re
from datetime import datetime
from typing import Any, cast

import msgspec
from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

COUNT_BOUND = 10_000
"""Rows that a list counts and pages through; filters and search lead to the others."""

NOTHING = "–"

_TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""The characters that control the direction of text (Unicode Bidi_Control)."""


class BoundedPaginator(Paginator):  # type: ignore[type-arg]  # takes arguments in its stubs only
    """Counts to COUNT_BOUND only: to count millions of messages takes longer than a page may."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, COUNT_BOUND at most."""
        rows = cast("QuerySet[Model]", self.object_list)
        return rows[:COUNT_BOUND].count()


class ViewOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Rows to look at: what the system writes, an operator's edit would turn into a lie."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a count of the whole table for every choice

    class Media:
        css = {"all": ("notifications/admin.css",)}  # noqa: RUF012  # Django's form

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse."""
        return False


def listed(model: type[Model], text: object, **filters: str | int) -> SafeString:
    """Return a link to a model's list, filtered."""
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', url, urlencode(filters), text)


def linked(row: Model | None, text: object = None) -> SafeString | str:
    """Return a link to the page of a row."""
    if row is None:
        return NOTHING
    meta = row._meta
    url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])
    return format_html('<a href="{}">{}</a>', url, row if text is None else text)


def badge(kind: str, text: str) -> SafeString:
    """Return a word in the colour of its kind: good, warn, bad or idle."""
    return format_html('<span class="bw-badge bw-{}">{}</span>', kind, text)


def shortened(text: str, length: int = 24) -> SafeString | str:
    """Return the beginning of a long name, with the whole on hover."""
    if len(text) <= length:
        return text
    return format_html('<span title="{}">{}…</span>', text, text[:length])


def excerpt(text: str, length: int) -> SafeString:
    """Return the beginning of JSON text."""
    beginning = text if len(text) <= length else f"{text[:length]}…"
    return format_html('<code class="bw-excerpt">{}</code>', _harmless(beginning))


def ago(moment: datetime | None, *, now: datetime) -> SafeString | str:
    """Return how long ago or how far ahead a moment is, with the exact time on hover."""
    if moment is None:
        return NOTHING
    seconds = (now - moment).total_seconds()
    if abs(seconds) < 60:
        length = f"{abs(seconds):.0f}\xa0seconds"
    else:
        first, last = sorted((moment, now))
        length = timesince(first, last, depth=1)
    exact = moment.isoformat(sep=" ", timespec="milliseconds")
    text = f"in {length}" if seconds < 0 else f"{length} ago"
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact, text)


def pretty_json(text: str) -> SafeString | str:
    """Return JSON text over several lines; numbers and strings stay as they were written."""
    if not text:
        return NOTHING
    try:
        text = msgspec.json.format(text, indent=2)
    except msgspec.DecodeError:
        pass  # shown as it is: an operator who looks for a defect needs to see it
    return format_html('<pre class="bw-json">{}</pre>', _harmless(text))


def _harmless(text: str) -> str:
    """Write the characters that turn text around as JSON escapes, so that all reads as it is."""
    return _TURNING.sub(lambda match: f"\\u{ord(match.group()):04x}", text)
