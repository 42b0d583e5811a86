import base64
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.errors import InvalidTokenError, TokenExpiredError
from accounts.models import User
from accounts.tokens import CLOCK_SKEW, LEEWAY, issue_access_token, verify_access_token
from tests.accounts import keys

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ADA = User(pk=7)


@pytest.fixture(autouse=True)
def _keys(settings: Settings) -> None:
    settings.ACCOUNTS = {
        **settings.ACCOUNTS,
        "TOKEN_KEYS": [keys.HS, keys.RS_PUBLIC, keys.ES_PUBLIC],
        "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
    }


def good_claims(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": "bellwether",
        "aud": "bellwether",
        "sub": "7",
        "iat": int(time.time()),
        "exp": int(time.time()) + 900,
        "jti": "some-jti",
    }
    return {k: v for k, v in {**claims, **changes}.items() if v is not ...}


def signed(
    claims: object, *, key: Any = keys.BYTES, alg: str = "HS256", kid: Any = "hs", **header: Any
) -> str:
    """Sign by hand: PyJWT refuses to make much of what a forger would."""
    head = {"alg": alg, **({} if kid is None else {"kid": kid}), **header}
    signed_part = ".".join(keys.encoded(json.dumps(part).encode()) for part in (head, claims))
    signature = jwt.get_algorithm_by_name(alg).sign(signed_part.encode(), key)
    return f"{signed_part}.{keys.encoded(signature)}"


def raw(header: object, payload: object, signature: bytes = b"") -> str:
    """Assemble a token that no library would make."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(keys.encoded(part) for part in parts)


@pytest.mark.parametrize("entry", [keys.HS, keys.RS, keys.ES], ids=["HS", "RS", "ES"])
def test_what_is_issued_verifies(settings: Settings, entry: str) -> None:
    settings.ACCOUNTS = {**settings.ACCOUNTS, "TOKEN_KEYS": [entry]}
    family = uuid.uuid4()
    claims = verify_access_token(issue_access_token(ADA, family=family).access)
    assert (claims.user_id, claims.family) == (7, str(family))


def test_an_issued_token_says_what_is_documented() -> None:
    issued = issue_access_token(ADA, now=NOW)
    said = jwt.decode(issued.access, options={"verify_signature": False})
    assert said.pop("jti")
    at = int(NOW.timestamp())
    assert said == {
        "iss": "bellwether", "aud": "bellwether", "sub": "7", "iat": at, "exp": at + 900,
    }  # fmt: skip
    assert jwt.get_unverified_header(issued.access) == {"alg": "HS256", "typ": "JWT", "kid": "hs"}
    assert issued.expires_in_ms == 900_000


def test_each_token_has_its_own_jti() -> None:
    texts = {issue_access_token(ADA, now=NOW).access for _ in range(3)}
    assert len({verify_claims_of(text)["jti"] for text in texts}) == 3


def verify_claims_of(text: str) -> dict[str, Any]:
    return jwt.decode(text, options={"verify_signature": False})


def test_nothing_shows_a_token_by_its_repr() -> None:
    issued = issue_access_token(ADA)
    assert issued.access not in repr(issued)


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.999])
def test_a_token_is_good_as_long_as_announced_and_hardly_longer(fraction: float) -> None:
    issued_at = NOW + timedelta(seconds=fraction)
    issued = issue_access_token(ADA, now=issued_at)
    announced = issued_at + timedelta(milliseconds=issued.expires_in_ms)
    with time_machine.travel(announced - timedelta(milliseconds=1), tick=False):
        verify_access_token(issued.access)
    with (
        time_machine.travel(announced + timedelta(seconds=LEEWAY), tick=False),
        pytest.raises(TokenExpiredError),
    ):
        verify_access_token(issued.access)


def test_old_keys_verify_until_they_are_dropped(settings: Settings) -> None:
    settings.ACCOUNTS = {**settings.ACCOUNTS, "TOKEN_KEYS": [keys.HS]}
    old = issue_access_token(ADA).access
    settings.ACCOUNTS = {**settings.ACCOUNTS, "TOKEN_KEYS": [keys.ES, keys.HS]}
    assert verify_access_token(old).user_id == 7
    settings.ACCOUNTS = {**settings.ACCOUNTS, "TOKEN_KEYS": [keys.ES]}
    with pytest.raises(InvalidTokenError):
        verify_access_token(old)


def test_tokens_outlive_a_rotation_of_secret_key(settings: Settings) -> None:
    settings.ACCOUNTS = {**settings.ACCOUNTS, "TOKEN_KEYS": []}
    settings.SECRET_KEY = "the old key" * 5
    old = issue_access_token(ADA).access
    settings.SECRET_KEY = "the new key" * 5
    with pytest.raises(InvalidTokenError):
        verify_access_token(old)
    settings.SECRET_KEY_FALLBACKS = ["the old key" * 5]
    assert verify_access_token(old).user_id == 7
    assert verify_access_token(issue_access_token(ADA).access).user_id == 7


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "iat", "exp", "jti"])
@pytest.mark.parametrize("value", [..., None])
def test_every_claim_is_required(claim: str, value: Any) -> None:
    verify_access_token(signed(good_claims()))
    with pytest.raises(InvalidTokenError):
        verify_access_token(signed(good_claims(**{claim: value})))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody"},
        {"iss": ["bellwether"]},
        {"aud": "somebody"},
        {"aud": ["somebody"]},
        {"aud": {"bellwether": 1}},
        {"sub": 7},
        {"sub": ""},
        {"sub": "-7"},
        {"sub": "7.0"},
        {"sub": "ada"},
        {"sub": "٧"},
        {"sub": str(2**63)},
        {"sub": "9" * 5_000},
        {"jti": 5},
        {"iat": "1"},
        {"iat": True},
        {"iat": -1},
        {"exp": "9999999999"},
        {"exp": 10**400},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": [1]},
        {"nbf": 9_999_999_999},
        {"fam": ""},
        {"fam": 5},
        {"fam": ["x"]},
        {"fam": "not a uuid"},
    ],
)
def test_wrong_claims_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidTokenError):
        verify_access_token(signed(good_claims(**changes)))


@time_machine.travel(NOW, tick=False)
def test_a_clock_may_be_a_little_ahead() -> None:
    at = int(NOW.timestamp())
    verify_access_token(signed(good_claims(iat=at + CLOCK_SKEW)))
    with pytest.raises(InvalidTokenError):
        verify_access_token(signed(good_claims(iat=at + CLOCK_SKEW + 1)))


FORGERIES: dict[str, Callable[[], str]] = {
    "no algorithm": lambda: raw({"alg": "none", "kid": "hs"}, good_claims()),
    "no algorithm, in capitals": lambda: raw({"alg": "NONE", "kid": "hs"}, good_claims()),
    "algorithm absent": lambda: raw({"kid": "hs"}, good_claims()),
    "algorithm is a list": lambda: raw({"alg": ["HS256"], "kid": "hs"}, good_claims()),
    "another algorithm, right key": lambda: signed(good_claims(), key=keys.BYTES * 2, alg="HS512"),
    "no kid": lambda: signed(good_claims(), kid=None),
    "unknown kid": lambda: signed(good_claims(), kid="other"),
    "kid is a list": lambda: raw({"alg": "HS256", "kid": ["hs"]}, good_claims()),
    "key of another kid": lambda: signed(good_claims(), kid="rs"),
    "another key": lambda: signed(good_claims(), key=b"x" * 32),
    "another RSA kind": lambda: signed(good_claims(), key=keys.RSA, alg="PS256", kid="rs"),
    "signed by the public key's PEM": lambda: signed(
        good_claims(), key=keys.public_pem(keys.RSA), kid="rs"
    ),
    "signed by the EC key's PEM": lambda: signed(
        good_claims(), key=keys.public_pem(keys.P256), kid="es"
    ),
    "payload changed": lambda: spliced(signed(good_claims()), signed(good_claims(sub="1"))),
    "expired and forged": lambda: signed(good_claims(exp=1), key=b"x" * 32),
    "unencoded payload": lambda: raw(
        {"alg": "HS256", "kid": "hs", "b64": False, "crit": ["b64"]}, good_claims()
    ),
    "unknown critical header": lambda: signed(good_claims(), crit=["x"], x=1),
    "key in the header": lambda: signed(
        good_claims(), key=b"x" * 32, jwk={"kty": "oct", "k": keys.encoded(b"x" * 32)}
    ),
    "no object": lambda: signed([]),
    "empty": lambda: "",
    "dots": lambda: "..",
    "lone surrogate": lambda: "\ud800.x.y",
    "no ASCII": lambda: "ä.ö.ü",
}


def spliced(one: str, other: str) -> str:
    """Give one token's signature to another's payload."""
    return ".".join([*other.split(".")[:2], one.split(".")[2]])


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_forgeries_are_refused(forge: Callable[[], str]) -> None:
    with pytest.raises(InvalidTokenError):
        verify_access_token(forge())


def test_any_change_of_a_character_is_refused() -> None:
    good = signed(good_claims())
    for place, char in enumerate(good):
        changed = good[:place] + ("A" if char != "A" else "B") + good[place + 1 :]
        with pytest.raises(InvalidTokenError):
            verify_access_token(changed)


@given(st.one_of(st.text(), st.binary().map(lambda raw: base64.b64encode(raw).decode() + "..")))
def test_no_text_raises_anything_else(text: str) -> None:
    with pytest.raises(InvalidTokenError):
        verify_access_token(text)
