"""Writes: what changes state goes through a function here. Start with publish()."""

from notifications.services.publishing import publish, publish_on_commit

__all__ = ["publish", "publish_on_commit"]
