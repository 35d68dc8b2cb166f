"""The sandbox's own clock: it stands, runs at a speed, or is put forward, never back.

Everything that is told in simulated time asks it; tokens and rate limits live in real time.
"""

import time
from datetime import UTC, datetime, timedelta
from threading import Lock


class Clock:
    """Simulated time between the opening head and the end of the simulation."""

    def __init__(self, head: datetime, end: datetime, speed: float) -> None:
        self.end = end
        self.speed = speed
        self._head = min(head, end)
        self._set_at = time.monotonic()
        self._lock = Lock()

    def now(self) -> datetime:
        """What the clock shows."""
        with self._lock:
            passed = (time.monotonic() - self._set_at) * self.speed
            return min(self._head + timedelta(seconds=passed), self.end)

    def put_forward(self, head: datetime) -> bool:
        """Sets the clock; False if that would turn it back or lies beyond the end."""
        now, head = self.now(), head.astimezone(UTC)
        if not now <= head <= self.end:
            return False
        with self._lock:
            self._head, self._set_at = head, time.monotonic()
        return True
