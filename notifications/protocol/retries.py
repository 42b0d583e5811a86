"""How clients space their reconnects: a policy for each kind, which settings may change in part."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from notifications.protocol.values import Retry

ClientKind = Literal["browser", "mobile", "service"]

OTHERS: ClientKind = "browser"
"""Whose policy is that of clients that do not say what they are."""

# A client that people wait at spreads itself and comes back within half a minute. A program can
# wait for a server that says it has too much to do. None gives up: whoever wants that says so.
_ATTENDED = Retry(
    max_retries=0,
    initial_delay=1_000,
    max_delay=30_000,
    backoff_multiplier=2.0,
    jitter=True,
    strategy="exponential",
)
DEFAULTS: Mapping[ClientKind, Retry] = {
    "browser": _ATTENDED,
    "mobile": _ATTENDED,
    "service": msgspec.structs.replace(_ATTENDED, strategy="adaptive"),
}

Delay = Annotated[int, Meta(ge=1, le=86_400_000)]


class _Part(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What a setting says of one kind; the rest is left as it is."""

    max_retries: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    initial_delay: Delay | None = None
    max_delay: Delay | None = None
    backoff_multiplier: Annotated[float, Meta(ge=1, le=100)] | None = None
    jitter: bool | None = None
    strategy: Literal["exponential", "linear", "fixed", "adaptive"] | None = None


class _Parts(msgspec.Struct, forbid_unknown_fields=True):
    """What a setting says, by kind."""

    browser: _Part | None = None
    mobile: _Part | None = None
    service: _Part | None = None


_reader = msgspec.json.Decoder(_Parts)


def read_policies(setting: str | Mapping[str, object]) -> Mapping[ClientKind, Retry]:
    """Return the policy of each kind.

    setting: a JSON object by kind, as text or as it is; empty for the defaults. Raises ValueError,
    which says what is wrong.
    """
    if not setting:
        return DEFAULTS
    try:
        if isinstance(setting, str):
            parts = _reader.decode(setting)
        else:
            parts = msgspec.convert(setting, _Parts)
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from error
    policies = dict(DEFAULTS)
    for kind in DEFAULTS:
        part = getattr(parts, kind) or _Part()
        said = {
            name: value
            for name in part.__struct_fields__
            if (value := getattr(part, name)) is not None
        }
        policies[kind] = policy = msgspec.structs.replace(DEFAULTS[kind], **said)
        if policy.initial_delay > policy.max_delay:
            raise ValueError(f"`initialDelay` is above `maxDelay` - at `$.{kind}`")
    return policies


def policy_for(kind: str | None, policies: Mapping[ClientKind, Retry], *, health: float) -> Retry:
    """Return what a client of a kind is told. health: of the server, above 0 and at most 1."""
    chosen = next((name for name in policies if name == kind), OTHERS)
    return msgspec.structs.replace(policies[chosen], health=health)
