import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from accounts.keyset import keyset, parse_keys
from tests.accounts import keys


@pytest.mark.parametrize("first", [keys.HS, keys.RS, keys.ES], ids=["HS", "RS", "ES"])
def test_the_first_signs_and_all_verify(first: str) -> None:
    entries = [first, *(each for each in (keys.HS, keys.RS, keys.ES) if each != first)]
    parsed = parse_keys(entries)
    assert parsed.signing.kid == first.partition(":")[0]
    assert set(parsed.by_kid) == {"hs", "rs", "es"}


def test_a_public_key_verifies_only() -> None:
    parsed = parse_keys([keys.HS, keys.RS_PUBLIC, keys.ES_PUBLIC])
    assert parsed.by_kid["rs"].signs_with is None
    assert parsed.by_kid["es"].signs_with is None


def test_base64url_may_be_padded() -> None:
    assert parse_keys([keys.HS + "="]) == parse_keys([keys.HS])


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (["nonsense"], "HS256, RS256 or ES256"),
        ([""], "number 1 needs the form kid:alg:secret"),
        ([keys.HS, "a b:HS256:x"], "number 2 needs the form"),
        ([keys.HS, keys.HS], "same kid"),
        ([keys.HS.replace("HS256", "none")], "HS256, RS256 or ES256"),
        ([keys.HS.replace("HS256", "HS512")], "HS256, RS256 or ES256"),
        (["hs:HS256:!!!"], "not base64url"),
        (["hs:HS256:ä"], "not base64url"),
        (["hs:HS256:"], "has 0 bytes"),
        ([f"hs:HS256:{keys.encoded(b'x' * 31)}"], "needs 32 random bytes"),
        ([f"hs:HS256:{keys.encoded(keys.public_pem(keys.RSA))}"], "PEM under HS256"),
        ([keys.RS_PUBLIC], "it is a public key"),
        ([f"rs:RS256:{keys.encoded(b'x' * 64)}"], "unencrypted PEM"),
        (
            [f"rs:RS256:{keys.encoded(keys.private_pem(keys.RSA, password=b'x'))}"],
            "unencrypted PEM",
        ),
        ([f"rs:RS256:{keys.encoded(keys.private_pem(keys.SHORT_RSA))}"], "at least 2048 bits"),
        ([f"rs:RS256:{keys.encoded(keys.private_pem(keys.P256))}"], "not what RS256 needs"),
        ([f"ed:ES256:{keys.encoded(keys.private_pem(keys.ED25519))}"], "neither an RSA nor"),
        ([f"es:ES256:{keys.encoded(keys.private_pem(keys.RSA))}"], "not what ES256 needs"),
        ([f"es:ES256:{keys.encoded(keys.private_pem(keys.P384))}"], "the curve P-256"),
    ],
)
def test_what_cannot_be_used_is_named(entries: list[str], says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=says) as refused:
        parse_keys(entries)
    for secret in (entry.rpartition(":")[2] for entry in entries):
        assert len(secret) < 9 or secret not in str(refused.value)


def test_without_entries_one_key_is_derived_from_secret_key(settings: Settings) -> None:
    before = keyset()
    assert before.signing.algorithm == "HS256"
    assert list(before.by_kid) == [before.signing.kid]
    assert before.signing.signs_with != settings.SECRET_KEY.encode()
    settings.SECRET_KEY = "another secret key"
    assert keyset().signing != before.signing


def test_it_is_parsed_once_until_the_settings_change(settings: Settings) -> None:
    before = keyset()
    assert keyset() is before
    settings.ACCOUNTS = {**settings.ACCOUNTS, "TOKEN_KEYS": [keys.ES]}
    assert keyset().signing.algorithm == "ES256"
