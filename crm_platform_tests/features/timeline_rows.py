"""Short ways to write activities, versions, merges and questions for tests of timelines: moments are March 2026."""

import datetime as dt
from decimal import Decimal

import polars as pl

UTC_US = pl.Datetime("us", "UTC")
US = dt.timedelta(microseconds=1)
DAY = dt.timedelta(days=1)

ACTIVITY = {
    "entity_id": pl.String,
    "event_time": UTC_US,
    "processed_time": UTC_US,
    "source_position": pl.String,
    "is_tombstone": pl.Boolean,
    "changed_fields": pl.List(pl.String),
    "account_id": pl.String,
    "occurred_at": UTC_US,
    "channel": pl.String,
    "amount": pl.Decimal(18, 2),
}
VERSION = {**{name: ACTIVITY[name] for name in list(ACTIVITY)[:6]}, "stage": pl.String}
MERGE = {"loser_id": pl.String, "winner_id": pl.String, "event_time": UTC_US, "processed_time": UTC_US}


def at(day, hour=0, minute=0):
    """A moment of March 2026; day 32 is the first of April."""
    return dt.datetime(2026, 3, 1, hour, minute, tzinfo=dt.UTC) + DAY * (day - 1)


def row(entity, event, processed=None, *, position=None, deleted=False, partial=False, **fields):
    """One version: what it writes is what is given, all fields (the others null) unless it is partial."""
    return {
        "entity_id": entity,
        "event_time": event,
        "processed_time": processed or event,
        "source_position": position,
        "is_tombstone": deleted,
        "changed_fields": sorted(fields) if partial else None,
        **{name: Decimal(value) if name == "amount" and value is not None else value for name, value in fields.items()},
    }


def call(entity, account, occurred, event=None, processed=None, **fields):
    """One full image of an activity, by default written when it took place."""
    return row(entity, event or occurred, processed, account_id=account, occurred_at=occurred, **fields)


def activities(*rows):
    return pl.DataFrame(list(rows), schema=ACTIVITY)


def versions(*rows):
    return pl.DataFrame(list(rows), schema=VERSION)


def merges(*facts):
    """Facts as (loser, winner, event_time) or (loser, winner, event_time, processed_time)."""
    full = [(*fact, fact[2]) if len(fact) == 3 else fact for fact in facts]
    return pl.DataFrame(full, schema=MERGE, orient="row")


def spine(*questions):
    """Questions as (entity, as_of)."""
    return pl.DataFrame(list(questions), schema={"entity_id": pl.String, "as_of": UTC_US}, orient="row")
