"""How values are shown: as text whatever they are."""

from datetime import UTC, datetime, timedelta

import pytest

from notifications.admin.pages import ago, excerpt, pretty_json, shortened

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (timedelta(), "0\xa0seconds ago"),
        (timedelta(seconds=42), "42\xa0seconds ago"),
        (timedelta(seconds=-42), "in 42\xa0seconds"),
        (timedelta(minutes=3, seconds=59), "3\xa0minutes ago"),
        (timedelta(hours=26), "1\xa0day ago"),
        (timedelta(hours=-2), "in 2\xa0hours"),
    ],
)
def test_a_moment_is_told_from_now(before: timedelta, text: str) -> None:
    shown = ago(NOW - before, now=NOW)
    assert f">{text}</time>" in shown
    assert f'title="{(NOW - before).isoformat(sep=" ", timespec="milliseconds")}"' in shown


def test_no_moment_is_a_dash() -> None:
    assert ago(None, now=NOW) == "–"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a":[1,{"b":2}]}', '{\n  "a": [\n    1,\n    {\n      "b": 2\n    }\n  ]\n}'),
        ("12345678901234567890.10", "12345678901234567890.10"),  # numbers stay as written
        ('"<script>"', '"<script>"'),
        ("{broken", "{broken"),
        ('"\u202eevil\u2066"', r'"\u202eevil\u2066"'),
    ],
)
def test_json_is_shown_as_text(text: str, shown: str) -> None:
    escaped = shown.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    assert pretty_json(text) == f'<pre class="bw-json">{escaped}</pre>'


def test_no_json_is_a_dash() -> None:
    assert pretty_json("") == "–"


@pytest.mark.parametrize(
    ("text", "shown"), [("abc", "abc"), ("abcd", "abcd"), ("abcde", "abcd…"), ("<b>", "&lt;b&gt;")]
)
def test_an_excerpt_ends_at_its_length(text: str, shown: str) -> None:
    assert excerpt(text, 4) == f'<code class="bw-excerpt">{shown}</code>'


def test_a_long_name_is_whole_on_hover() -> None:
    assert shortened("a<b", 3) == "a<b"  # plain text, which the template escapes
    assert shortened("a<bc", 3) == '<span title="a&lt;bc">a&lt;b…</span>'
