"""One small CRM life in the sandbox's shape, as history tables on disk. Each row says why it is awkward."""

from datetime import UTC, date, datetime, timedelta

import polars as pl

from crm_platform.contracts import MERGES, contracts_in
from crm_platform.lake import Lake
from crm_platform.sources import load_manifest

US = timedelta(microseconds=1)
MANIFEST = load_manifest("sandbox")
CONTRACTS = contracts_in("crm_platform.contracts.sandbox")


def at(month, day, hour=0, minute=0):
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def days(first, last):
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def row(object_name, entity, event, *, processed=None, operation="create", changed=None, channel="feed", **fields):
    """One version in history's columns; `changed` of a partial update follows from its fields."""
    processed = processed or event
    tombstone = operation in {"delete", "merge"}
    if operation == "update" and changed is None:
        changed = sorted(fields)
    base = dict.fromkeys(CONTRACTS[object_name].history_schema)
    return base | {
        "entity_id": entity,
        "event_time": event,
        "processed_time": processed,
        "source_position": processed.isoformat(),
        "operation": operation,
        "is_tombstone": tombstone,
        "changed_fields": [] if tombstone else changed,
        "processed_date": processed.date(),
        "_channel": channel,
        "_batch_id": "b1",
        "_ingested_at": processed + timedelta(seconds=5),
        "id": entity if operation == "create" else None,
        **fields,
    }


def lead(entity, event, **rest):
    return row("lead", entity, event, **rest)


def activity(entity, event, **rest):
    return row("activity", entity, event, **rest)


def frame(object_name, rows):
    return pl.DataFrame(rows, schema=CONTRACTS[object_name].history_schema)


def merge(object_name, loser, winner, when):
    return (object_name, loser, winner, when, when, when.date())


def write(lake, object_name, rows):
    """Makes history/<object> hold these rows, on all the days they name."""
    found = frame(object_name, rows)
    touched = found["processed_date"].unique().to_list()
    held = lake.days(f"history/{object_name}")
    return lake.replace(f"history/{object_name}", found, days=sorted({*touched, *held}))


def write_merges(lake, *facts):
    found = pl.DataFrame(list(facts), schema=MERGES, orient="row")
    return lake.replace("history/merges", found, days=found["processed_date"].unique().to_list())


LEADS = [
    lead("L1", at(3, 1, 8), status="new", owner_id="O1", source="web"),
    # moves on by a partial update, then converts in the horizon of every question
    lead("L1", at(3, 3, 9), operation="update", status="working"),
    lead("L1", at(3, 20, 12), operation="update", status="converted"),
    # told four days late: open until the 12th for all we knew
    lead("L2", at(3, 1, 9), status="new", owner_id="O2", source="event"),
    lead("L2", at(3, 8, 9), processed=at(3, 12, 9), operation="update", status="converted"),
    # never converts
    lead("L3", at(3, 2), status="new", owner_id="O1", source="web"),
    # deleted, so nobody asks after that
    lead("L4", at(3, 1, 10), status="new", owner_id="O2", source="web"),
    lead("L4", at(3, 10), operation="delete"),
]

ACTIVITIES = [
    activity("A1", at(3, 2, 10), occurred_at=at(3, 2, 10), lead_id="L1", kind="call", channel="phone", owner_id="O1"),
    # logged three days after the call
    activity(
        "A2", at(3, 5, 10), occurred_at=at(3, 2, 11), lead_id="L1", kind="meeting", channel="video", owner_id="O1",
        duration_minutes=30,
    ),
    # planned: counts when it takes place
    activity("A3", at(3, 4), occurred_at=at(3, 6), lead_id="L3", kind="email", channel="email", owner_id="O2"),
    # concerns no lead
    activity("A4", at(3, 4), occurred_at=at(3, 4), account_id="C1", kind="call", channel="phone", owner_id="O2"),
]  # fmt: skip

FIRST, LAST = date(2026, 3, 1), date(2026, 4, 15)
WATERMARK = at(4, 15, 12)


def small_lake(root):
    """Leads and activities of six weeks; the watermark is noon of the last day."""
    lake = Lake(root)
    write(lake, "lead", LEADS)
    write(lake, "activity", ACTIVITIES)
    return lake
