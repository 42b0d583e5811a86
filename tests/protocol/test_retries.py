"""Retry policies by kind: what settings may say of them, and which one a client is told."""

import json
from typing import Any

import pytest

from notifications.protocol.retries import DEFAULTS, OTHERS, policy_for, read_policies


@pytest.mark.parametrize(
    "setting", ["", {}, "{}", '{"browser": {}}', '{"browser": {"jitter": null}}']
)
def test_nothing_said_leaves_the_defaults(setting: Any) -> None:
    assert read_policies(setting) == DEFAULTS


def test_the_defaults() -> None:
    browser, service = DEFAULTS["browser"], DEFAULTS["service"]
    assert (browser.initial_delay, browser.max_delay, browser.jitter) == (1000, 30_000, True)
    assert (browser.strategy, DEFAULTS["mobile"].strategy) == ("exponential", "exponential")
    assert (service.strategy, service.max_retries) == ("adaptive", 0)


@pytest.mark.parametrize("as_text", [True, False])
def test_a_part_changes_a_part(as_text: bool) -> None:
    said = {"mobile": {"maxRetries": 5, "strategy": "linear"}, "service": {"backoffMultiplier": 3}}
    policies = read_policies(json.dumps(said) if as_text else said)
    mobile = policies["mobile"]
    assert (mobile.max_retries, mobile.strategy, mobile.max_delay) == (5, "linear", 30_000)
    assert policies["service"].backoff_multiplier == 3.0
    assert policies["service"].strategy == "adaptive"
    assert policies["browser"] == DEFAULTS["browser"]


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("{", ""),
        ("[]", "object"),
        ('{"robot": {}}', "robot"),
        ('{"browser": 7}', "$"),
        ('{"browser": {"retries": 7}}', "retries"),
        ('{"browser": {"maxRetries": -1}}', "maxRetries"),
        ('{"browser": {"maxRetries": 1.5}}', "maxRetries"),
        ('{"browser": {"initialDelay": 0}}', "initialDelay"),
        ('{"browser": {"initialDelay": 60000}}', "initialDelay"),
        ('{"browser": {"maxDelay": 999}}', "maxDelay"),
        ('{"browser": {"maxDelay": 86400001}}', "maxDelay"),
        ('{"browser": {"backoffMultiplier": 0.5}}', "backoffMultiplier"),
        ('{"browser": {"jitter": "yes"}}', "jitter"),
        ('{"browser": {"strategy": "random"}}', "strategy"),
        ({"browser": {"strategy": 1}}, "strategy"),
    ],
)
def test_what_is_wrong_is_said(setting: Any, names: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_policies(setting)
    assert names in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "counts_as"),
    [("mobile", "mobile"), ("service", "service"), ("browser", "browser"), (None, OTHERS)],
)
def test_which_one_a_client_is_told(kind: str | None, counts_as: Any) -> None:
    policies = read_policies(
        {
            name: {"maxRetries": number}
            for number, name in enumerate(("browser", "mobile", "service"))
        }
    )
    told = policy_for(kind, policies, health=0.5)
    assert told.max_retries == policies[counts_as].max_retries
    assert (told.health, policies[counts_as].health) == (0.5, None)
