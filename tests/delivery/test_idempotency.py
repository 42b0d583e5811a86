"""A retry finds the first answer, also when the server died before it could give it."""

import http.client

import pytest

from tests.delivery.test_delivery import make_key
from tests.deployment import Deployment

pytestmark = pytest.mark.server


def test_a_retry_after_kill_9_between_commit_and_answer(deployment: Deployment) -> None:
    """The process dies right after the commit; a new one answers the retry with the first id."""
    key = make_key(deployment)
    dying = deployment.start(DJANGO_SETTINGS_MODULE="tests.settings_dying")
    assert dying.publish(key, "a.b", {"n": 0}).status == 201
    with pytest.raises((OSError, http.client.HTTPException)):
        dying.publish(key, "a.b", {"n": 1}, idempotencyKey="once")
    assert dying.process.wait(10) == -9
    ((first,),) = deployment.query("SELECT id FROM notifications_message WHERE seq = 2")
    restarted = deployment.start(port=dying.port)
    for _ in range(2):
        retry = restarted.publish(key, "a.b", {"n": 1}, idempotencyKey="once")
        assert (retry.status, retry.body["duplicate"], retry.body["seq"]) == (200, True, 2)
        assert retry.body["id"].replace("-", "") == str(first).replace("-", "")
    other = restarted.publish(key, "a.b", {"n": 2}, idempotencyKey="once")
    assert (other.status, other.body["code"]) == (409, "CONFLICT")
    assert deployment.query("SELECT count(*) FROM notifications_message") == [(2,)]
