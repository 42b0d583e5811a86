import hmac

import pytest
from pytest_django import Settings

from accounts import api_keys
from accounts.api_keys import KeyText


def test_a_key_is_parsed_into_what_it_was_made_of() -> None:
    key = api_keys.generate()
    assert api_keys.parse(str(key)) == key
    assert str(key) == f"bw_{key.identifier}_{key.secret}"


def test_a_secret_has_160_random_bits() -> None:
    alphabet = 26 + 26 + 10
    assert alphabet ** len(api_keys.generate().secret) > 2**160
    assert len({api_keys.generate().secret for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bw_",
        "bw__",
        "bw_0123456789ab",
        "bw_0123456789ab_" + "a" * 31,
        "bw_0123456789ab_" + "a" * 33,
        "bw_0123456789ab_" + "a" * 32 + "\n",
        "bw_0123456789AB_" + "a" * 32,
        "bw_0123456789a\x00_" + "a" * 32,
        "bw_0123456789ab_" + "ä" * 32,
        "BW_0123456789ab_" + "a" * 32,
        "xw_0123456789ab_" + "a" * 32,
    ],
)
def test_other_texts_are_no_keys(text: str) -> None:
    assert api_keys.parse(text) is None


def test_a_secret_matches_its_own_digest_only() -> None:
    digest = api_keys.digest_of("secret")
    assert api_keys.matches("secret", digest)
    assert not api_keys.matches("Secret", digest)
    assert not api_keys.matches("secret", None)


def test_the_digest_needs_the_pepper(settings: Settings) -> None:
    digest = api_keys.digest_of("secret")
    settings.SECRET_KEY = "another secret key"
    assert api_keys.digest_of("secret") != digest
    assert not api_keys.matches("secret", digest)


def test_a_key_outlives_a_rotation_of_secret_key(settings: Settings) -> None:
    digest = api_keys.digest_of("secret")
    settings.SECRET_KEY_FALLBACKS = ["oldest", settings.SECRET_KEY]
    settings.SECRET_KEY = "another secret key"
    assert api_keys.matches("secret", digest)
    assert not api_keys.matches("other", digest)


@pytest.mark.parametrize("case", ["right", "wrong", "unknown"])
def test_the_work_is_the_same_for_every_key(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, case: str
) -> None:
    settings.SECRET_KEY_FALLBACKS = ["one", "two"]
    stored = {"right": api_keys.digest_of("secret"), "wrong": api_keys.digest_of("other")}
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return compare_digest(one, other)

    compare_digest = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert api_keys.matches("secret", stored.get(case)) is (case == "right")
    assert [(len(one), len(other)) for one, other in compared] == [(64, 64)] * 3


def test_a_repr_does_not_show_the_secret() -> None:
    assert "hush" not in repr(KeyText("0123456789ab", "hush"))
