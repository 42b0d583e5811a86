"""A server process: what it owns, what it does on a timer, and how its connections end."""

from notifications.process.process import Process
from notifications.process.running import running_process, stop_process, this_process

__all__ = ["Process", "running_process", "stop_process", "this_process"]
