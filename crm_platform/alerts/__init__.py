"""Alerts: what is wrong, who is told of it, once, and when it is well again.

Decisions are pure; the book and the mutes lie in the lake; targets are told over HTTP or SMTP. Who asks Dagster stands in
`defs`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crm_platform.alerts.book import Book, keep_book, load_book
from crm_platform.alerts.mutes import Mute, MuteError, mute, muted, muted_by, mutes, unmute
from crm_platform.alerts.news import Ledger, Message, attempted, delivered, is_due, lines, with_news
from crm_platform.alerts.problems import (
    KINDS,
    Ended,
    Evaluated,
    Problem,
    Stretch,
    after_checks,
    after_runs,
    as_observed,
    stretches,
)
from crm_platform.alerts.settings import AlertSettings, Email, Webhook

if TYPE_CHECKING:
    from crm_platform.alerts.targets import TargetError, send

__all__ = [
    "KINDS",
    "AlertSettings",
    "Book",
    "Email",
    "Ended",
    "Evaluated",
    "Ledger",
    "Message",
    "Mute",
    "MuteError",
    "Problem",
    "Stretch",
    "TargetError",
    "Webhook",
    "after_checks",
    "after_runs",
    "as_observed",
    "attempted",
    "delivered",
    "is_due",
    "keep_book",
    "lines",
    "load_book",
    "mute",
    "muted",
    "muted_by",
    "mutes",
    "send",
    "stretches",
    "unmute",
    "with_news",
]


def __getattr__(name: str) -> Any:
    """What speaks HTTP and SMTP, imported by whoever first asks for it: httpx is long to load, and definitions need none."""
    if name in {"TargetError", "send"}:
        return getattr(import_module("crm_platform.alerts.targets"), name)
    raise AttributeError(name)
