"""Messages that are published all the time, by REST, each with the next number of its topic."""

import http.client
import json
import threading
import time
from typing import Final, Self

from tests.deployment import Server

TOPICS: Final = ("feed.1.a", "feed.2.b")
"""In two partitions, as their first two segments differ."""

PACE: Final = 0.004
"""Seconds between two publishes of a topic: it is the rate of a feed, and waits for nothing."""


class Feed:
    """A thread for each topic. A payload is its topic and the next `n`, from 1."""

    def __init__(self, server: Server, key: str) -> None:
        self.begun = dict.fromkeys(TOPICS, 0)
        self.stored = dict.fromkeys(TOPICS, 0)
        self.errors: list[str] = []
        self._server = server
        self._key = key
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._publish, args=(one,)) for one in TOPICS]

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _publish(self, topic: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=20)
        headers = {"Authorization": f"Api-Key {self._key}", "Content-Type": "application/json"}
        while not self._stop.is_set():
            self.begun[topic] += 1
            payload = {"topic": topic, "n": self.begun[topic]}
            body = json.dumps({"topic": topic, "payload": payload})
            connection.request("POST", "/api/v1/publish", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                self.errors.append(f"{answer.status} {text.decode()}")
                return
            self.stored[topic] += 1
            time.sleep(PACE)
        connection.close()
