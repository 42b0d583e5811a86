"""The bus: the channel layer, seen as partitions and a control line."""

from notifications.bus.bus import Bus
from notifications.bus.hints import Hint, hints_of

__all__ = ["Bus", "Hint", "hints_of"]
