"""Times of publishing, carried in payloads as `"t": <digits>`."""

import json
from typing import Final

from bench.machine.clock import STAMP_DIGITS

_KEY: Final = b'"t":'


def find_stamp(text: bytes) -> int | None:
    """Return the stamp in a JSON text, or None when it has none.

    A search for bytes instead of a JSON parse: the generator must cost less than the server. It
    holds for both spellings, with a space after the colon and without.
    """
    at = text.find(_KEY)
    if at < 0:
        return None
    at += len(_KEY)
    if text[at : at + 1] == b" ":
        at += 1
    return int(text[at : at + STAMP_DIGITS])


def notification(payload_bytes: int) -> tuple[bytes, bytes]:
    """Return what stands before and after the stamp in a JSON object of `payload_bytes` bytes.

    It is shaped like a notification of an order; its last field is filled up to the size.
    """
    body = {
        "kind": "order.updated",
        "order": 4711,
        "status": "shipped",
        "title": "Your order is on its way",
        "url": "/orders/4711",
        "text": "",
    }
    head = json.dumps(body, separators=(",", ":"))[:-2].encode()
    tail = b'","t":'
    fill = payload_bytes - len(head) - len(tail) - STAMP_DIGITS - 1
    if fill < 0:
        raise ValueError(f"a notification has at least {payload_bytes - fill} bytes")
    words = b"It left the warehouse this morning and should arrive within two days. "
    return head + (words * (fill // len(words) + 1))[:fill] + tail, b"}"
