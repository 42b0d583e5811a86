"""What all codecs do with a message of a client once its frames are apart, each as JSON text."""

from collections.abc import Callable, Iterable

import msgspec

from notifications.errors import BadFrame, NotificationError
from notifications.protocol.client_frames import ClientFrame, Publish
from notifications.protocol.limits import BATCH_FRAMES, within_structure
from notifications.protocol.refusals import Refusal, explain, replacing, structural, too_complex

_DECODER = msgspec.json.Decoder(ClientFrame)

# A cursor and a resume are wishes: what cannot even be read is as good as a wrong one, and rule 3
# of replay says what that gets. So it is replaced by the least that stands for the same answer.
FORGIVEN = {
    ("auth", "resume"): b"null",
    ("auth", "resume.sessionId"): b"null",
    ("auth", "resume.cursor"): b"{}",
    ("subscribe", "options.since"): b"{}",
    ("replay", "cursor"): b"{}",
    ("ack", "cursor"): b"{}",
}

TakePayload = Callable[[msgspec.Raw], bytes]
"""Makes a payload's compact JSON of the text in a frame; raises BadFrame or PayloadTooLarge."""


def read_frame(text: bytes, take_payload: TakePayload) -> ClientFrame | Refusal:
    """Read one frame, or say why it is none. Never raises.

    text: JSON, whatever it is.
    """
    try:
        frame: ClientFrame = _DECODER.decode(text)
        if not within_structure(text):
            return too_complex()
        if type(frame) is Publish:
            # Before anyone else sees the frame. The copy also lets go of the message's buffer.
            payload = msgspec.Raw(take_payload(frame.payload))
            msgspec.structs.force_setattr(frame, "payload", payload)
        return frame
    except (ValueError, RecursionError, NotificationError) as fault:
        refusal = explain(text, fault)
    forgiven = FORGIVEN.get((refusal.type or "", refusal.field or ""))
    if forgiven is None or refusal.field is None:
        return refusal
    return read_frame(replacing(text, refusal.field, forgiven), take_payload)


def read_batch(
    elements: list[bytes],
    is_array: Callable[[bytes], bool],
    read: Callable[[bytes], ClientFrame | Refusal],
) -> Refusal | list[ClientFrame | Refusal]:
    """Read the frames of a batch, each as if it came alone.

    A batch over BATCH_FRAMES or with an array in it is one structural Refusal.
    """
    if len(elements) > BATCH_FRAMES:
        return structural(f"Send at most {BATCH_FRAMES} frames in an array.")
    if any(map(is_array, elements)):
        return structural("Send frames in a batch, not arrays.")
    return [read(element) for element in elements]


def only_frame(decoded: ClientFrame | Refusal | Iterable[ClientFrame | Refusal]) -> ClientFrame:
    """Return the frame of a message that must be one; raises a NotificationError otherwise."""
    if isinstance(decoded, Refusal):
        raise decoded.error
    if isinstance(decoded, list):
        raise BadFrame("Send one frame, not a batch.")
    assert isinstance(decoded, ClientFrame)
    return decoded
