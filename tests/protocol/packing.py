"""JSON text as MessagePack, written by a library that is not the server's."""

import json
from typing import Any

import msgpack


class Pairs(list[tuple[str, Any]]):
    """An object whose keys may repeat."""


def pack_text(text: str) -> bytes:
    """Pack JSON text, with its order and its repeated keys; raises ValueError where it is none.

    Integers beyond 64 bits become floats, as a JavaScript client would have them.
    """
    return pack(json.loads(text, object_pairs_hook=Pairs, parse_constant=_refuse))


def pack(value: Any) -> bytes:
    """Pack a value."""
    packer = msgpack.Packer(autoreset=False)
    _pack(packer, value)
    packed = packer.bytes()
    assert isinstance(packed, bytes)
    return packed


def _pack(packer: Any, value: Any) -> None:
    if isinstance(value, Pairs):
        packer.pack_map_header(len(value))
        for key, one in value:
            packer.pack(key)
            _pack(packer, one)
    elif isinstance(value, list):
        packer.pack_array_header(len(value))
        for one in value:
            _pack(packer, one)
    elif type(value) is int and not -(2**63) <= value < 2**64:
        packer.pack(float(value))
    else:
        packer.pack(value)


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
