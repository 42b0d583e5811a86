"""A server that is gone between the commit of a publish and its answer."""

import os
import signal
from typing import Any
from unittest.mock import patch

from django.apps import AppConfig


class DyingConfig(AppConfig):
    """Kills the process as soon as something with an idempotency key was appended."""

    name = "tests"
    label = "dying"

    def ready(self) -> None:
        """Put the death behind the writer's append."""
        from notifications.log import group_commit  # needs the apps loaded
        from notifications.log.append import append

        def append_and_die(publications: Any, **options: Any) -> Any:
            outcomes = append(publications, **options)
            if any(publication.idempotency_key for publication in publications):
                os.kill(os.getpid(), signal.SIGKILL)
            return outcomes

        patch.object(group_commit, "append", append_and_die).start()
