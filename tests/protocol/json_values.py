"""Strategies for JSON: values, text around them, and text that is nearly JSON."""

import json
from typing import Any

from hypothesis import strategies as st

from notifications.protocol.refusals import _EXPECTED, FRAMES

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()  # NaN and the infinities too, which json.dumps writes as no JSON
    | st.text()  # lone surrogates too
    | st.sampled_from(["", "[", "{", '"', "\\", ":", "\x00", "2030-01-01T00:00:00Z"])
)

names = (
    st.sampled_from(
        sorted({name for _, path in _EXPECTED for name in path.split(".")} | {"last", "offsets"})
    )
    | st.text()
)

values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda children: st.lists(children, max_size=5) | st.dictionaries(names, children, max_size=8),
    max_leaves=30,
)

frames = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(sorted(FRAMES)) | scalars,
    st.dictionaries(names, values, max_size=10),
)


def write(value: Any, *, spaced: bool = False, escaped: bool = True) -> str:
    """Write a value as JSON text, or as what Python takes for it."""
    separators = (" , ", " : ") if spaced else (",", ":")
    return json.dumps(value, separators=separators, ensure_ascii=escaped)


texts = st.builds(
    lambda value, spaced, escaped: write(value, spaced=spaced, escaped=escaped),
    frames | st.lists(frames, max_size=4) | values,
    st.booleans(),
    st.booleans(),
)


@st.composite
def mutilated(draw: st.DrawFn) -> str:
    """Text that was JSON before a few characters were lost, doubled or put in."""
    text = draw(texts)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        until = draw(st.integers(at, min(len(text), at + 8)))
        text = text[:at] + draw(st.sampled_from([*'"\\[]{}:,0e-. ', "", text[:at]])) + text[until:]
    return text
