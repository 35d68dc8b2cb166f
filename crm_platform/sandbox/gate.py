"""What stands before every call: tokens, rate limits, the daily quota, and the transport's bad days.

`rate_limited`, `quota_403`, `server_errors`, `token_expiry` and `truncated_bodies` are done here. What a call asks for
is of no interest here.
"""

import json
import math
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from crm_platform.sandbox.config import SandboxConfig

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MINUTE = 60
DAY = 86_400
GUARDED = ("/api/", "/sandbox/")


class Window:
    """Counts calls in stretches of real time."""

    def __init__(self, seconds: int, limit: int) -> None:
        self.seconds = seconds
        self.limit = limit
        self.began = time.monotonic()
        self.calls = 0

    def admits(self) -> bool:
        """Counts a call; False if there were too many."""
        if time.monotonic() - self.began >= self.seconds:
            self.began, self.calls = time.monotonic(), 0
        self.calls += 1
        return self.calls <= self.limit

    @property
    def remaining(self) -> int:
        """Calls that are left."""
        return max(self.limit - self.calls, 0)

    @property
    def resets_in(self) -> int:
        """Seconds, rounded up, until counting begins anew."""
        return max(math.ceil(self.began + self.seconds - time.monotonic()), 0)


class Tokens:
    """The tokens that were given out."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.good_for = config.faults.token_expiry.calls if config.faults.token_expiry else None
        self._given: dict[str, tuple[float, int]] = {}

    def give(self, client_id: str, client_secret: str) -> str | None:
        """A new token; None for somebody else's name or secret."""
        known = secrets.compare_digest(client_id.encode(), self.config.client_id.encode())
        fits = secrets.compare_digest(client_secret.encode(), self.config.client_secret.encode())
        if not (known and fits):
            return None
        token = secrets.token_urlsafe(32)
        self._given[token] = (time.monotonic() + self.config.token_seconds, 0)
        return token

    def refuses(self, header: str) -> str | None:
        """The word for what is wrong with an Authorization header; None if it is good."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or token not in self._given:
            return "invalid_token"
        until, calls = self._given[token]
        if time.monotonic() >= until or (self.good_for is not None and calls >= self.good_for):
            return "token_expired"
        self._given[token] = (until, calls + 1)
        return None


class Gate:
    """ASGI middleware that admits or refuses calls."""

    def __init__(self, app: App, *, config: SandboxConfig, tokens: Tokens) -> None:
        self.app = app
        self.faults = config.faults
        self.tokens = tokens
        self.minute = Window(MINUTE, config.rate_limit)
        quota = self.faults.quota_403.calls if self.faults.quota_403 else config.daily_quota
        self.day = Window(DAY, quota)
        self.calls = 0
        self.downloads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses the call, or lets it through and adds the limits to the answer."""
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED):
            await self.app(scope, receive, send)
            return
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refused = self._refusal(headers.get("authorization", ""))
        if refused:
            await self._refuse(send, *refused)
            return
        breaks_off = self._breaks_off(scope["path"])
        await self.app(scope, receive, self._with_limits(send, breaks_off=breaks_off))

    def _refusal(self, authorization: str) -> tuple[int, str, str, dict[str, str]] | None:
        wrong = self.tokens.refuses(authorization)
        if wrong:
            challenge = {"WWW-Authenticate": f'Bearer error="{wrong}"'}
            return 401, wrong, "Ask POST /oauth/token for a token and send it as a bearer.", challenge
        self.calls += 1
        errors = self.faults.server_errors
        if errors and self.calls % (errors.every + errors.burst) >= errors.every:
            return errors.status, "server_error", "Something broke here. Try again later.", {}
        if not self.day.admits():
            return 403, "quota_exceeded", "The daily quota is used up. Go on when it resets.", {}
        limited = self.faults.rate_limited
        if limited and self.calls % limited.every == 0:
            wait = {"Retry-After": _retry_after(limited.retry_after, limited.style)}
            return 429, "rate_limited", "Too many calls. Wait as Retry-After says.", wait
        if not self.minute.admits():
            wait = {"Retry-After": str(self.minute.resets_in)}
            return 429, "rate_limited", "Too many calls in this minute. Wait as Retry-After says.", wait
        return None

    def _limits(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.minute.limit),
            "X-RateLimit-Remaining": str(self.minute.remaining),
            "X-RateLimit-Reset": str(self.minute.resets_in),
        }

    async def _refuse(self, send: Send, status: int, error: str, detail: str, headers: dict[str, str]) -> None:
        body = json.dumps({"error": error, "detail": detail}).encode()
        told = {"Content-Type": "application/json", "Content-Length": str(len(body)), **self._limits(), **headers}
        await send({"type": "http.response.start", "status": status, "headers": _raw(told)})
        await send({"type": "http.response.body", "body": body})

    def _breaks_off(self, path: str) -> bool:
        fault = self.faults.truncated_bodies
        if not fault or "/parts/" not in path:
            return False
        self.downloads += 1
        return (self.downloads - 1) % fault.every == 0

    def _with_limits(self, send: Send, *, breaks_off: bool) -> Send:
        left = 0

        async def told(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_raw(self._limits())]
                length = next((value for name, value in message["headers"] if name == b"content-length"), b"0")
                left = int(length) // 2
                await send(message)
            elif message["type"] == "http.response.body" and breaks_off:
                body = message["body"][:left]
                left -= len(body)
                await send({"type": "http.response.body", "body": body, "more_body": True})
            else:
                await send(message)

        return told


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def _retry_after(seconds: int, style: str) -> str:
    if style == "seconds":
        return str(seconds)
    whole = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds + 1)
    return format_datetime(whole, usegmt=True)
