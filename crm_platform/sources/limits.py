"""How fast a CRM may be asked: a budget of requests, and what Retry-After and rate headers say.

Waiting happens here and between retries, nowhere else. What an answer means stands in `answers`.
"""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from crm_platform.sources.transport import Rate


class RateBudget:
    """A bucket of requests that refills evenly, and stays shut while the CRM says that nothing remains."""

    def __init__(
        self,
        rate: Rate,
        *,
        longest: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Starts full.

        Args:
            rate: Requests per second, burst, and the CRM's headers.
            longest: Seconds that an announced reset is waited for at most.
            clock: Seconds of a clock that never goes back.
            sleep: Waits some seconds.
        """
        self._rate = rate
        self._longest = longest
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = float(rate.burst)
        self._filled = clock()
        self._shut_until = 0.0

    def take(self) -> None:
        """Takes a place for one more request, and waits until it may go out."""
        if (wait := self._wait()) > 0:
            self._sleep(wait)

    def learn(self, headers: Mapping[str, str], *, wall: float) -> None:
        """Shuts the budget when the CRM says that no request remains; `wall` is the present, in epoch seconds."""
        if self._rate.remaining_header is None or self._rate.reset_header is None:
            return
        remaining, reset = headers.get(self._rate.remaining_header), headers.get(self._rate.reset_header)
        if remaining is None or reset is None or not _is_number(remaining) or not _is_number(reset):
            return
        if float(remaining) <= 0:
            seconds = float(reset) - wall if self._rate.reset == "epoch_seconds" else float(reset)
            with self._lock:
                self._shut_until = self._clock() + min(max(seconds, 0.0), self._longest)

    def _wait(self) -> float:
        """The seconds until the place just taken: the bucket may be overdrawn, so that all wait their turn once."""
        with self._lock:
            now = self._clock()
            gained = (now - self._filled) * self._rate.requests_per_second
            self._tokens, self._filled = min(float(self._rate.burst), self._tokens + gained) - 1, now
            return max(-self._tokens / self._rate.requests_per_second, self._shut_until - now, 0.0)


def retry_after_seconds(header: str | None, *, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for, be it seconds or an HTTP date; None where it says nothing."""
    if header is None:
        return None
    if _is_number(header):
        return max(float(header), 0.0)
    try:
        then = parsedate_to_datetime(header)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)  # an HTTP date is GMT by its standard, also when written -0000
    return max((then - now).total_seconds(), 0.0)


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).isdigit()
