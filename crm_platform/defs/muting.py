"""What people ask of the alerts on the command line: what is open, and to hear nothing of it for a while."""

import datetime as dt
from pathlib import Path

import polars as pl

from crm_platform.alerts import load_book, mute, muted_by, mutes, unmute
from crm_platform.defs.platform import Platform
from crm_platform.defs.settings import load_settings


def open_alerts(config: Path | None) -> pl.DataFrame:
    """What is open: kind, subject, place, since, and by whom and until when it is muted."""
    lake = Platform.from_settings(load_settings(config)).lake()
    held = mutes(lake, dt.datetime.now(dt.UTC))
    found = [
        {
            "kind": problem.kind,
            "subject": problem.subject,
            "place": problem.place,
            "since": f"{problem.since:%Y-%m-%d %H:%M}",
            "muted": None if (by := muted_by(problem, held)) is None else f"until {by.until:%Y-%m-%d %H:%M} by {by.by}",
            "command": problem.command,
        }
        for problem in load_book(lake).problems
    ]
    names = ("kind", "subject", "place", "since", "muted", "command")
    return pl.DataFrame(found, schema=dict.fromkeys(names, pl.String))


def mutes_in_force(config: Path | None) -> pl.DataFrame:
    """What is muted: pattern, until, by, why."""
    lake = Platform.from_settings(load_settings(config)).lake()
    held = mutes(lake, dt.datetime.now(dt.UTC))
    found = [{"pattern": m.pattern, "until": f"{m.until:%Y-%m-%d %H:%M}", "by": m.by, "why": m.why} for m in held]
    return pl.DataFrame(found, schema=dict.fromkeys(("pattern", "until", "by", "why"), pl.String))


def waiting_messages(config: Path | None) -> pl.DataFrame:
    """What is on its way to a target: target, title, attempts, when it is tried next."""
    book = load_book(Platform.from_settings(load_settings(config)).lake())
    found = [
        {"target": name, "title": one.title, "attempts": one.attempts, "next_at": f"{one.next_at:%Y-%m-%d %H:%M:%S}"}
        for name, ledger in sorted(book.ledgers.items())
        if (one := ledger.pending) is not None
    ]
    schema = {"target": pl.String, "title": pl.String, "attempts": pl.Int64, "next_at": pl.String}
    return pl.DataFrame(found, schema=schema)


def left_out(config: Path | None) -> pl.DataFrame:
    """Who did not get the last message that others of a target got: target, what."""
    book = load_book(Platform.from_settings(load_settings(config)).lake())
    found = [{"target": name, "what": one.left_out} for name, one in sorted(book.ledgers.items()) if one.left_out]
    return pl.DataFrame(found, schema=dict.fromkeys(("target", "what"), pl.String))


def mute_alerts(config: Path | None, pattern: str, until: dt.datetime, by: str, why: str) -> None:
    """Mutes what fits a pattern until a moment (UTC)."""
    lake = Platform.from_settings(load_settings(config)).lake()
    mute(lake, pattern, until=until.replace(tzinfo=dt.UTC), by=by, why=why, now=dt.datetime.now(dt.UTC))


def unmute_alerts(config: Path | None, pattern: str, by: str) -> None:
    """Ends a mute."""
    unmute(Platform.from_settings(load_settings(config)).lake(), pattern, by=by, now=dt.datetime.now(dt.UTC))
