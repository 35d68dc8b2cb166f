"""The one HTTP client: connections kept, requests paced, retried and logged, logins renewed, downloads resumed.

It knows no object and no page; `feed`, `rest` and `exports` do. What a status means stands in `answers`.
"""

import json
import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import stamina
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from crm_platform.contracts import TransientError
from crm_platform.sources.answers import Call, action_of, failure, place_of
from crm_platform.sources.auth import Login
from crm_platform.sources.downloads import Partial
from crm_platform.sources.errors import (
    AnswerError,
    AuthError,
    GoneError,
    RefusedError,
    ThrottledError,
    TruncatedError,
    UnreachableError,
)
from crm_platform.sources.limits import RateBudget, retry_after_seconds
from crm_platform.sources.transport import Action, HttpTransport

logger = logging.getLogger(__name__)

Params = Mapping[str, str | int]
T = TypeVar("T")

WAIT_JITTER = 0.1
"""Seconds added at random to a wait that the CRM asked for."""


@dataclass(frozen=True)
class Answer:
    """A JSON answer: its status, its headers, its body."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]


class CrmClient:
    """Speaks HTTP with one CRM as its manifest says."""

    def __init__(
        self,
        source: str,
        transport: HttpTransport,
        *,
        base_url: str,
        credentials: Mapping[str, str],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Opens no connection yet.

        Raises:
            CredentialsError: Credentials that the manifest asks for are missing.
            RefusedError: The base URL is none.
        """
        if not base_url.startswith(("http://", "https://")):
            raise RefusedError(f"The base URL of {source} is no http(s) URL. Give one such as https://crm.example.com.")
        speak_softly()
        self._source = source
        self._transport = transport
        self._place = place_of(base_url)
        self._login = Login(source, transport.auth, credentials)
        patience = transport.retry.retry_after_max.total_seconds()
        self._budget = RateBudget(transport.rate, longest=patience, sleep=sleep)
        timeout = httpx.Timeout(transport.timeout.total_seconds(), connect=transport.connect_timeout.total_seconds())
        self._http = httpx.Client(base_url=base_url, timeout=timeout, headers={"User-Agent": "crm-platform"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def get(self, path: str, params: Params | None = None) -> Answer:
        """Reads JSON; see `request`."""
        return self.request("GET", path, params=params)

    def request(
        self, method: str, path: str, *, params: Params | None = None, body: Mapping[str, Any] | None = None
    ) -> Answer:
        """Sends a request until it is answered with JSON, or may no longer be tried.

        Raises:
            TransientError: The CRM did not answer well in the attempts allowed.
            PermanentError: The CRM refuses: login, quota, the request itself.
            GoneError: The CRM no longer holds what was asked for.
        """

        def attempt(call: Call) -> Answer:
            with self._answered(call, params=params, body=body) as response:
                return Answer(response.status_code, response.headers, _json_of(call, self._read(call, response)))

        return self._retried(method, path, attempt)

    def download(self, path: str, into: Path) -> Answer | None:
        """Streams a file to disk, picks a broken transfer up where it broke, and renames it when it is whole.

        Returns:
            The answer's status and headers; None where it was answered 204, without content.

        Raises:
            TransientError: The transfer broke more often than is allowed; what came so far is kept for the next time.
            PermanentError: The CRM refuses.
        """
        partial = Partial(into)

        def attempt(call: Call) -> Answer | None:
            headers = partial.headers() | {"Accept-Encoding": "identity"}
            with self._answered(call, headers=headers, keep=(httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE,)) as response:
                if response.status_code == httpx.codes.NO_CONTENT:
                    return None
                return self._stored(call, response, partial)

        return self._retried("GET", path, attempt)

    def _stored(self, call: Call, response: httpx.Response, partial: Partial) -> Answer:
        partial.begin(response.status_code, response.headers)
        try:
            for chunk in response.iter_raw():
                partial.write(chunk)
        except httpx.TransportError as broken:
            raise _broken_off(call, broken) from None
        finally:
            partial.pause()
        if not partial.is_whole:
            raise _broken_off(call, None)
        partial.finish()
        return Answer(response.status_code, response.headers, {})

    def _retried(self, method: str, path: str, attempt: Callable[[Call], T]) -> T:
        retry = self._transport.retry
        request_id = uuid.uuid4().hex
        for tried in stamina.retry_context(
            on=_waits,
            attempts=retry.attempts,
            timeout=retry.total,
            wait_initial=retry.wait_initial,
            wait_max=retry.wait_max,
            wait_jitter=retry.wait_initial,
        ):
            with tried:
                return attempt(Call(self._source, method, path, request_id, tried.num, retry.attempts))
        raise UnreachableError(f"{method} {path} of {self._source} was never tried. Raise `attempts` in the manifest.")

    @contextmanager
    def _answered(
        self,
        call: Call,
        *,
        params: Params | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        keep: tuple[int, ...] = (),
    ) -> Iterator[httpx.Response]:
        """An answer that is no error, its body unread; a refused token is renewed once."""
        for renewed in (False, True):
            self._sign_in(call)
            request = self._http.build_request(
                call.method, call.path, params=params, json=body, headers=self._headers(call) | dict(headers or {})
            )
            response = self._send(call, request)
            try:
                if response.status_code in keep or response.is_success:
                    yield response
                    return
                refusal = self._read(call, response)
                action = action_of(self._transport.errors, response.status_code, refusal) or "permanent"
                if action == "refresh_auth" and self._login.is_renewable and not renewed:
                    self._login.forget()
                    continue
                if action == "gap":
                    raise GoneError.answered(call, response.status_code, _mapping(refusal))
                raise self._refused(call, response, action)
            finally:
                response.close()

    def _send(self, call: Call, request: httpx.Request) -> httpx.Response:
        self._budget.take()
        began = time.monotonic()
        try:
            response = self._http.send(request, stream=True)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise RefusedError(f"{call} has no valid URL. Correct base_url or the path in the manifest.") from None
        except httpx.TransportError as failed:
            raise UnreachableError(
                f"{call}: no answer from {self._place} ({type(failed).__name__}). "
                "Check that the CRM runs and can be reached from here, and that base_url is right."
            ) from None
        took = time.monotonic() - began
        logger.info(
            "%s %s: %d in %.3f s (attempt %d, request %s)",
            call.method, call.path, response.status_code, took, call.attempt, call.request_id,
        )  # fmt: skip
        self._budget.learn(response.headers, wall=time.time())
        return response

    def _read(self, call: Call, response: httpx.Response) -> bytes:
        try:
            return response.read()
        except (httpx.TransportError, httpx.DecodingError) as broken:
            raise _broken_off(call, broken) from None

    def _refused(self, call: Call, response: httpx.Response, action: Action) -> Exception:
        patience = self._transport.retry.retry_after_max.total_seconds()
        wait = retry_after_seconds(response.headers.get("Retry-After"), now=datetime.now(UTC))
        refused = failure(
            action, call, response.status_code, retry_after=wait, patience=patience, login=self._login.origin
        )
        if isinstance(refused, UnreachableError):
            refused.wait = wait
        return refused

    def _headers(self, call: Call) -> dict[str, str]:
        return {self._transport.correlation_header: call.request_id, **self._login.headers}

    def _sign_in(self, call: Call) -> None:
        if not self._login.is_due:
            return
        told = replace(call, method="POST", path=self._login.path)
        header = {self._transport.correlation_header: call.request_id}
        response = self._send(told, self._http.build_request("POST", told.path, data=self._login.form, headers=header))
        try:
            answered = self._read(told, response)
        finally:
            response.close()
        status = response.status_code
        if status == httpx.codes.TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise self._refused(told, response, "retry")
        if status >= httpx.codes.BAD_REQUEST:
            raise AuthError(
                f"{told} was refused with {status}: the CRM does not know our credentials. Check {self._login.origin}."
            )
        self._login.keep(_json_of(told, answered))


def speak_softly() -> None:
    """Lets retries be told by our own logger alone, and keeps httpx from logging URLs with their queries.

    Both libraries have one setting per process: stamina would print to stdout, httpx would log whole URLs. A level that
    somebody has set for httpx stays.
    """
    set_on_retry_hooks([_tell_retry])
    named = logging.getLogger("httpx")
    if named.level == logging.NOTSET:
        named.setLevel(logging.WARNING)


def _tell_retry(details: RetryDetails) -> None:
    logger.warning("Trying again in %.1f s: %s", details.wait_for, details.caused_by)


def _waits(failed: Exception) -> bool | float:
    """Whether to try again: no, yes by the usual steps, or after so many seconds."""
    if not isinstance(failed, TransientError) or isinstance(failed, ThrottledError):
        return False
    wait = getattr(failed, "wait", None)
    return True if wait is None else wait + random.uniform(0, WAIT_JITTER)  # noqa: S311 - spreads load, guards nothing


def _broken_off(call: Call, broken: Exception | None) -> TruncatedError:
    how = f" ({type(broken).__name__})" if broken else ""
    return TruncatedError(
        f"{call}: the answer broke off before its end{how}. Run again: what came is kept or repeated."
    )


def _json_of(call: Call, body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body) if body else {}
    except ValueError:
        raise TruncatedError(f"{call}: the answer is no whole JSON. Run again, or check base_url.") from None
    if not isinstance(told, dict):
        raise AnswerError.lacks(call.path, "object at the top")
    return told


def _mapping(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body) if body else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
