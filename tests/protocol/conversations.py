"""Conversations in a given state, and the frames that bring them there."""

from notifications.protocol.codec import JsonCodec
from notifications.protocol.conversation import ServerConversation
from notifications.protocol.frames import AuthSuccess, Cursor, Heartbeat, Limits, Retry
from notifications.protocol.states import State

AUTH = '{"type":"auth","id":"a-1","token":"t","clientId":"c"}'
PING = '{"type":"ping"}'

SUCCESS = AuthSuccess(
    session_id="s",
    server_id="server-1",
    capabilities=(),
    resumed=False,
    subscriptions=(),
    cursor=Cursor(epoch="e", offsets={}),
    heartbeat=Heartbeat(interval=30_000, timeout=5_000),
    retry=Retry(
        max_retries=0,
        initial_delay=1_000,
        max_delay=30_000,
        backoff_multiplier=2.0,
        jitter=True,
        strategy="exponential",
    ),
    limits=Limits(
        frame_bytes=65_536,
        payload_bytes=49_152,
        subscriptions=100,
        patterns=16,
        frames_per_second=20,
        publishes_per_second=50,
        replay_messages=10_000,
    ),
    server_time="2030-01-01T00:00:00.000Z",
)


def conversation_in(state: State, *, auth: str = AUTH) -> ServerConversation:
    """Return a conversation that came to a state the ordinary way."""
    conversation = ServerConversation(JsonCodec())
    if state is State.CLOSED:
        conversation.peer_closed()
        return conversation
    if state is not State.AWAITING_AUTH:
        conversation.receive(auth, now=0.0)
    if state is State.OPEN:
        conversation.authenticated(SUCCESS)
    assert conversation.state is state
    return conversation
