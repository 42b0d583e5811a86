"""Times of publishing, carried in payloads as `"t": <digits>`."""

import json
from typing import Final

from bench.machine.clock import STAMP_DIGITS

_KEY: Final = b'"t":'


def find_stamps(text: bytes) -> list[int]:
    """Return the stamps in a text, one for each message that it holds.

    A search for bytes instead of a JSON parse: the generator must cost less than the server. It
    holds for both spellings, with a space after the colon and without.
    """
    stamps: list[int] = []
    at = text.find(_KEY)
    while at >= 0:
        at += len(_KEY)
        if text[at : at + 1] == b" ":
            at += 1
        stamps.append(int(text[at : at + STAMP_DIGITS]))
        at = text.find(_KEY, at)
    return stamps


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
