"""HTTP responses, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.posting import Endpoint
from bench.load.responses import ResponseError, ResponseReader


def response(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Whatever\r\nserver: x\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )


@given(
    st.lists(st.tuples(st.sampled_from((200, 201, 429, 503)), st.binary(max_size=60)), max_size=5),
    st.data(),
)
def test_any_chunking_gives_the_same_statuses(
    answers: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(response(*answer) for answer in answers)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    reader, statuses = ResponseReader(), list[int]()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        statuses += reader.feed(stream[start:end])
    assert statuses == [status for status, _ in answers]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", id="chunked"),
        pytest.param(b"SSH-2.0-x\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000, id="endless head"),
    ],
)
def test_what_it_cannot_read_is_an_error(data: bytes) -> None:
    with pytest.raises(ResponseError):
        ResponseReader().feed(data)


def test_a_request_carries_its_proof_and_its_length() -> None:
    head, _, body = Endpoint(80, "/publish", "Api-Key k").request(b"{}").partition(b"\r\n\r\n")
    assert body == b"{}"
    assert head.split(b"\r\n")[0] == b"POST /publish HTTP/1.1"
    assert {b"Authorization: Api-Key k", b"Content-Length: 2"} <= set(head.split(b"\r\n"))


def test_a_request_without_proof_has_no_such_header() -> None:
    assert b"Authorization" not in Endpoint(80, "/publish", "").request(b"{}")


def test_what_an_answer_says_is_kept_where_that_is_asked_for() -> None:
    told = b"HTTP/1.1 503 X\r\nRetry-After: 1\r\ncontent-length: 4\r\n\r\nbody"
    untold = (
        b"HTTP/1.1 200 X\r\nx-retry-after: 1\r\nretry-after: soon\r\ncontent-length: 2\r\n\r\nok"
    )
    keeping, skipping = ResponseReader(keep_body=True), ResponseReader()
    for reader in (keeping, skipping):
        assert reader.feed(told[:-2]) == []
        assert reader.feed(told[-2:]) == [503]
        assert reader.retry_after
    assert (keeping.body, skipping.body) == (b"body", b"")
    assert keeping.feed(untold) == [200]
    assert (keeping.body, keeping.retry_after) == (b"ok", False)
