"""The bounds on inbound data, against an obvious reference."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifications.errors import BadFrame, PayloadTooLarge
from notifications.protocol.limits import (
    MAX_DEPTH,
    MAX_KEYS,
    PAYLOAD_BYTES,
    check_payload,
    compact_payload,
    within_structure,
)

trees: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.text(alphabet='ab"\\[]{}:, é'),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children),
    max_leaves=40,
)


def depth_of(value: Any) -> int:
    """Count levels, the obvious way."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(trees, st.integers(1, 6), st.booleans())
def test_depth_is_exact(value: Any, depth: int, spaced: bool) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1 if spaced else None).encode()
    assert within_structure(text, depth=depth) is (depth_of(value) <= depth)


@given(trees, st.integers(MAX_KEYS - 2, MAX_KEYS + 2), st.integers(0, 3))
def test_keys_are_counted_in_each_object(value: Any, keys: int, levels: int) -> None:
    # The other colons of the text must not count, nor hide those that do.
    wide: Any = {f":{number}": {} if number % 7 else ":" for number in range(keys)}
    for _ in range(levels):
        wide = [{"beside": value, "wide": wide}]
    text = json.dumps(wide).encode()
    assert within_structure(text, depth=100) is (keys <= MAX_KEYS)


def test_repeated_keys_count_each_time() -> None:
    assert within_structure(b"{" + b'"k":1,' * (MAX_KEYS - 1) + b'"k":1}')
    assert not within_structure(b"{" + b'"k":1,' * MAX_KEYS + b'"k":1}')


@given(st.binary() | st.text(alphabet='[]{}:"\\').map(str.encode))
@example(b'"' + b"\\" * 5000 + b"{" * 20)
@example(b'"\\' * 2500 + b"{" * 20)
def test_any_bytes_get_an_answer(data: bytes) -> None:
    assert within_structure(data, depth=3) in (True, False)


COMPACT = [
    (b"null", b"null"),
    (b" 1 ", b"1"),
    (b'{ "a" : [ 1.50 , 2E5 , -0 ] }', b'{"a":[1.50,2E5,-0]}'),
    (b'"a b\\u00e9\\/"', b'"a b\\u00e9\\/"'),
    ('\t"é"\n'.encode(), '"é"'.encode()),
    (b"[]", b"[]"),
    (b"{ }", b"{}"),
    (b"123456789012345678901234567890", b"123456789012345678901234567890"),
    (b"1" + b"0" * 308, b"1" + b"0" * 308),
    (b'["' + b"9" * 309 + b'",true,null,1]', b'["' + b"9" * 309 + b'",true,null,1]'),
]
REFUSED = [
    b"",
    b"{",
    b"1e999",
    b"[1e999]",
    b"1" * 5000,
    b"2" + b"0" * 308,
    b'{"a":[1,-' + b"9" * 309 + b"]}",
    b'"\xff"',
    b'{"\xff":1}',
    b'"\xed\xa0\x80"',
    b'"\\ud800"',
    b"NaN",
    b"[" * 5000 + b"]" * 5000,
]


@pytest.mark.parametrize("check", [compact_payload, check_payload])
class TestPayloads:
    """What both checks of a payload do."""

    @pytest.mark.parametrize(("raw", "compact"), COMPACT)
    def test_white_space_goes_and_tokens_stay(self, check: Any, raw: bytes, compact: bytes) -> None:
        assert check(raw) == compact
        assert check(msgspec.Raw(raw)) == compact
        assert check(memoryview(raw)) == compact

    @pytest.mark.parametrize("raw", REFUSED)
    def test_what_cannot_be_decoded_is_refused(self, check: Any, raw: bytes) -> None:
        with pytest.raises(BadFrame, match="Send `payload`"):
            check(raw)

    def test_the_limit_counts_compact_bytes(self, check: Any) -> None:
        largest = b'"' + b"x" * (PAYLOAD_BYTES - 2) + b'"'
        assert check(largest) == largest
        assert check(b" " * 100 + largest) == largest
        with pytest.raises(PayloadTooLarge, match=r"49,152.*49,153") as caught:
            check(b'"' + b"x" * (PAYLOAD_BYTES - 1) + b'"')
        assert caught.value.data == {"payloadBytes": PAYLOAD_BYTES}

    @given(value=trees, spaced=st.booleans())
    def test_the_value_is_the_same(self, check: Any, value: Any, spaced: bool) -> None:
        raw = json.dumps(value, indent=3 if spaced else None, ensure_ascii=spaced).encode()
        compact = check(raw)
        assert json.loads(compact) == value
        assert check(compact) == compact


@pytest.mark.parametrize(
    ("raw", "is_fine"),
    [
        (b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1), True),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, False),
        (json.dumps(dict.fromkeys(map(str, range(MAX_KEYS)))).encode(), True),
        (json.dumps(dict.fromkeys(map(str, range(MAX_KEYS + 1)))).encode(), False),
    ],
)
def test_a_payload_outside_a_frame_leaves_a_level_for_the_frame(raw: bytes, is_fine: bool) -> None:
    if is_fine:
        assert check_payload(raw) == compact_payload(raw)
    else:
        with pytest.raises(BadFrame, match="nested at most 15 levels deep"):
            check_payload(raw)
