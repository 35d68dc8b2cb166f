"""What an answer means: which of a manifest's error rules fits, and which error of ours that is.

Pure: nothing is sent, nothing is waited for. Messages name method, path and status, never query, body or headers.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from crm_platform.contracts import CrmPlatformError
from crm_platform.sources.errors import (
    AuthError,
    QuotaError,
    RefusedError,
    ThrottledError,
    TruncatedError,
    UnreachableError,
)
from crm_platform.sources.transport import Action, ErrorRule, picked

FIRST_ERROR = 400
THROTTLED = 429
SERVER_SIDE = 500


@dataclass(frozen=True)
class Call:
    """One request as messages may name it."""

    source: str
    method: str
    path: str
    request_id: str
    attempt: int
    attempts: int

    def __str__(self) -> str:
        tried = f"attempt {self.attempt} of {self.attempts}" if self.attempts else f"attempt {self.attempt}"
        return f"{self.method} {self.path} of {self.source} ({tried}, request {self.request_id})"


def action_of(rules: Sequence[ErrorRule], status: int, body: bytes) -> Action | None:
    """What is to be done about an answer; None where it is no error."""
    if status < FIRST_ERROR:
        return None
    told = _mapping(body)
    for rule in rules:
        if status in rule.status and all(str(picked(told, path)) == value for path, value in rule.body.items()):
            return rule.action
    return "retry" if status == THROTTLED or status >= SERVER_SIDE else "permanent"


def failure(
    action: Action, call: Call, status: int, *, retry_after: float | None, patience: float, login: str
) -> CrmPlatformError:
    """The error that an action stands for.

    Args:
        action: What the rules say.
        call: The request.
        status: The answer's status.
        retry_after: The seconds that the CRM asks to wait.
        patience: The longest wait allowed, in seconds.
        login: Where our credentials come from, for whoever must renew them.
    """
    if action == "quota":
        return QuotaError(
            f"{call} was refused with {status}: the CRM's quota is used up. "
            "Wait until it resets, or raise it; another login would not help."
        )
    if action in ("unauthorized", "refresh_auth"):
        why, remedy = "the CRM does not accept our login or our rights", f"Check {login} and what its user may do."
        if action == "refresh_auth":
            why, remedy = "the token has expired, or the CRM does not know it", f"Renew {login} and run again."
        return AuthError(f"{call} was refused with {status}: {why}. {remedy}")
    if action == "truncated":
        return TruncatedError(f"{call}: the CRM says that its answer is not whole ({status}). Run again.")
    if action == "retry":
        if retry_after is not None and retry_after > patience:
            return ThrottledError(
                f"{call} was refused with {status}, and the CRM asks for {retry_after:.0f} s of patience, more than "
                f"the {patience:.0f} s of `retry_after_max`. Run again later, or raise it in the manifest."
            )
        why, remedy = "The CRM is overloaded or ill", "raise `attempts` and `total` under `retry` in the manifest"
        if status == THROTTLED:
            why, remedy = (
                "The CRM is asked more often than it allows",
                "lower `requests_per_second` under `rate` in the manifest",
            )
        return UnreachableError(f"{call} was answered {status}. {why}: run again later, or {remedy}.")
    told = (
        f"{call} was refused with {status}. Compare the manifest with the CRM's description: path, parameters, object."
    )
    if status < FIRST_ERROR:
        told = f"{call} was sent elsewhere ({status}). Set base_url to where the CRM answers itself."
    return RefusedError(told)


def place_of(base_url: str) -> str:
    """Where a base URL points, without any login in it."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"


def _mapping(body: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(body) if body else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
