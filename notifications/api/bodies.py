"""Bodies and queries of requests: read within a bound, decoded straight into records.

REST framework's own parsers do neither, and would re-encode payloads, which must stay the
publisher's bytes.
"""

import re
from collections.abc import Mapping
from functools import cache
from itertools import islice
from typing import IO, Annotated, Any, TypeVar

import msgspec
from django.http import HttpRequest
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.parsers import BaseParser

from notifications.errors import BadFrame, PayloadTooLarge
from notifications.protocol.client_frames import TopicText
from notifications.protocol.limits import FRAME_BYTES
from notifications.protocol.refusals import expectations, field_of
from notifications.protocol.values import Key128, Metadata, Record

JSON = "application/json"
NDJSON = "application/x-ndjson"

SINGLE_BYTES = FRAME_BYTES + 8 * 1024
"""A body that carries one thing: what fits a frame, and room for white space and line ends."""

BATCH_BYTES = 8 * 1024 * 1024
"""A body that carries a batch."""

BATCH_MESSAGES = 1_000
"""Messages in a batch."""

# An array's elements as fields of a record: what comes after the last field is passed over, where
# a list would make an object of each. Eight mebibytes of "1,1,1" have four million.
_ELEMENTS = msgspec.json.Decoder(
    msgspec.defstruct(
        "Elements",
        [
            (f"element{n}", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET)
            for n in range(BATCH_MESSAGES + 1)
        ],
        array_like=True,
    )
)
_LINES = re.compile(rb"[^ \t\r\n][^\n]*").finditer

R = TypeVar("R", bound=msgspec.Struct)


class PublishBody(Record, frozen=True, kw_only=True):
    """What `POST /publish` takes; the fields are those of the `publish` frame."""

    topic: TopicText
    payload: Annotated[msgspec.Raw, msgspec.Meta(description="any JSON value")]
    metadata: Annotated[Metadata, msgspec.Meta(description="an object")] | None = None
    idempotency_key: Key128 | None = None


class BatchBody(Record, frozen=True, kw_only=True):
    """What `POST /publish/batch` takes as JSON. Each message is decoded by itself."""

    messages: Annotated[
        msgspec.Raw,
        msgspec.Meta(
            description=f"an array of at most {BATCH_MESSAGES:,} messages",
            extra_json_schema={
                "type": "array",
                "items": {"$ref": "#/components/schemas/PublishBody"},
                "maxItems": BATCH_MESSAGES,
            },
        ),
    ]


def read_body(request: HttpRequest, *, most: int, media_types: tuple[str, ...] = (JSON,)) -> bytes:
    """Return the body as it came, at most `most` bytes of it.

    Raises PayloadTooLarge, and UnsupportedMediaType for another Content-Type.
    """
    if request.content_type not in media_types:
        raise UnsupportedMediaType(
            request.content_type or "", detail=f"Send Content-Type: {' or '.join(media_types)}."
        )
    return _read(request, most, declared=request.META.get("CONTENT_LENGTH"))


def _read(stream: IO[bytes] | HttpRequest, most: int, *, declared: str | None) -> bytes:
    # Not request.body: its bound is the one setting for all of Django's forms.
    too_large = declared is not None and declared.isdecimal() and int(declared) > most
    data = b"" if too_large else stream.read(most + 1)
    if too_large or len(data) > most:
        raise PayloadTooLarge(f"Send a body of at most {most:,} bytes.", data={"bodyBytes": most})
    return data


def has_body(request: HttpRequest) -> bool:
    """Tell whether a request carries a body, for operations that do without one."""
    meta = request.META
    return meta.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in meta


def decode_body(data: bytes, record: type[R]) -> R:
    """Decode a JSON body; raises BadFrame that names the field at fault."""
    try:
        decoded: R = _decoder(record).decode(data)
    except msgspec.ValidationError as fault:
        raise _explained(fault, record) from None
    except (ValueError, RecursionError):
        raise BadFrame("Send well-formed JSON in UTF-8.") from None
    return decoded


def decode_query(query: Mapping[str, str], record: type[R]) -> R:
    """Decode a query string, in which an empty value counts as absent.

    Raises BadFrame that names the parameter at fault.
    """
    given = {name: text for name, text in query.items() if text}
    try:
        decoded: R = msgspec.convert(given, record, strict=False)
    except msgspec.ValidationError as fault:
        raise _explained(fault, record) from None
    return decoded


def messages_of(data: bytes, media_type: str) -> list[bytes]:
    """Cut a batch into the JSON text of its messages, of which nothing is built; raises BadFrame.

    Costs as many objects as a batch may have messages, whatever the data.
    """
    if media_type == NDJSON:
        lines = islice(_LINES(data), BATCH_MESSAGES + 1)
        messages = [line.group().rstrip() for line in lines]
    else:
        messages = _elements(bytes(decode_body(data, BatchBody).messages))
    if len(messages) > BATCH_MESSAGES:
        raise BadFrame(f"Send at most {BATCH_MESSAGES:,} messages in a batch.")
    return messages


def _elements(array: bytes) -> list[bytes]:
    """Cut the JSON text of an array into that of its elements, at most one more than allowed."""
    if array[:1] != b"[":
        raise BadFrame(f"Send `messages` as {_expected(BatchBody)['messages']}.")
    elements = msgspec.structs.astuple(_ELEMENTS.decode(array))
    return [bytes(one) for one in elements if one is not msgspec.UNSET]


@cache
def _decoder(record: type[R]) -> msgspec.json.Decoder[R]:
    return msgspec.json.Decoder(record)


@cache
def _expected(record: type[msgspec.Struct]) -> dict[str, str]:
    return expectations(record)


def _explained(fault: msgspec.ValidationError, record: type[msgspec.Struct]) -> BadFrame:
    field = field_of(fault)
    if not field:
        return BadFrame("Send a JSON object.")
    return BadFrame(f"Send `{field}` as {_expected(record).get(field, 'the schema describes')}.")


class BoundedJsonParser(BaseParser):
    """REST framework's JSON parser for views that use serializers, with a bound on the body.

    The framework's own reads whatever comes, and lets through text that no database stores.
    """

    media_type = JSON

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the body's JSON value; raises BadFrame, PayloadTooLarge."""
        declared = (parser_context or {})["request"].META.get("CONTENT_LENGTH")
        data = _read(stream, SINGLE_BYTES, declared=declared)
        try:
            return msgspec.json.decode(data)
        except (ValueError, RecursionError):
            raise BadFrame("Send well-formed JSON in UTF-8.") from None
