"""One small CRM life, and why each of its rows is awkward.

Three companies in one week of March 2026: created, corrected late, merged, unmerged, deleted, recreated. Tests take the
rows in any order; what must come out of them stands here as literals, worked out by hand from DESIGN 2.
"""

import datetime as dt
from decimal import Decimal
from typing import Any

import polars as pl

from crm_platform.contracts import Contract, Moment, Money, ObjectModel, Text, TextList, field


class Company(ObjectModel):
    """A company, with one column of each kind that behaves differently."""

    id: Text = field("The CRM's own id.", key=True)
    name: Text = field("What it is called.", pii="name")
    owner_id: Text = field("Who looks after it.", nullable=True)
    revenue: Money = field("Revenue a year.", nullable=True, ge=Decimal(0))
    merged_ids: TextList = field("Older companies that this one was merged from.", nullable=True)
    modified_at: Moment = field("When it was last edited.")


COMPANY = Contract("scenario", "company", Company)


def at(text: str) -> dt.datetime:
    """A moment in March 2026: "02 10:00" or "02 10:00:00.000001"."""
    return dt.datetime.fromisoformat(f"2026-03-{text.replace(' ', 'T')}+00:00")


def change(entity_id: str, position: str, event: str, processed: str | None = None, **told: Any) -> dict[str, Any]:
    """One landed change: a full image unless it names `changed_fields`; recorded when it happened unless told."""
    operation = told.pop("operation", "update" if "changed_fields" in told else "create")
    recorded = at(processed or event)
    tombstone = operation in ("delete", "merge", "inferred_delete") and bool(
        operation != "merge" or told.get("merged_into")
    )
    image = {} if tombstone or "changed_fields" in told else {"id": entity_id, "name": "?", "modified_at": at(event)}
    return (
        {
            "entity_id": entity_id,
            "event_time": at(event),
            "processed_time": recorded,
            "source_position": position,
            "operation": operation,
            "is_tombstone": tombstone,
            "processed_date": recorded.date(),
            "_payload": f'{{"position":"{position}"}}',
            "_changed_by": "seller-1",
            "_channel": "feed",
            "_batch_id": "batch-1",
            "_ingested_at": at("09 00:00"),
        }
        | image
        | told
    )


def landed(*rows: dict[str, Any]) -> pl.DataFrame:
    """Rows of landing/changes/company."""
    return pl.DataFrame(rows, schema=COMPANY.change_schema)


CREATED = change("acme", "001", "01 09:00", name="Acme", owner_id="mia")
RENAMED = change("acme", "002", "02 10:00", changed_fields=["name"], name="Acme AG")
CORRECTED = change(
    "acme", "007", "01 15:00", "03 08:00", changed_fields=["owner_id", "name"], name="Acme Ltd", owner_id="leo"
)
"""Recorded two days late: dated before RENAMED, so its name never shows; its owner does, nobody newer wrote that."""

TWICE = RENAMED | {"_batch_id": "batch-2", "_ingested_at": at("09 06:00")}
"""RENAMED, delivered again: the same version, with other provenance."""

BOREAL = change("boreal", "003", "01 12:00", name="Boreal", revenue=Decimal("10.00"))
AHEAD = change("boreal", "004", "05 00:00", "02 11:00", changed_fields=["revenue"], revenue=Decimal("12.50"))
"""Dated three days ahead: recorded on the 2nd, it may influence nothing before the 5th."""

MERGED = change("boreal", "009", "04 16:00", operation="merge", merged_into="acme")
UNMERGED = change("boreal", "010", "05 12:00", operation="undelete", changed_fields=[])
"""An undelete that names no field: what was there comes back, AHEAD's revenue included."""

CEDAR = change("cedar", "005", "01 13:00", name="Cedar")
FELLED = change("cedar", "006", "03 07:00", operation="delete")
STRAGGLER = change("cedar", "008", "02 18:00", "03 09:00", changed_fields=["name"], name="Cedar Old")
"""Recorded after the delete and dated before it: it does not revive, but its name is there when something else does."""

REGROWN = change("cedar", "011", "06 08:00", changed_fields=["owner_id"], owner_id="ana")
"""The id is used again by a partial update: any later write brings back what was there."""

LIFE = [CREATED, RENAMED, CORRECTED, TWICE, BOREAL, AHEAD, MERGED, UNMERGED, CEDAR, FELLED, STRAGGLER, REGROWN]

QUARREL = [
    change("delta", "012", "02 09:00", name="Delta"),
    change("delta", "012", "02 09:00", name="Delta GmbH"),
]
"""Equal in everything that orders them, different in content: nobody can say which is right."""

LIVING: dict[str, list[tuple[str, str, str | None, str | None]]] = {
    "01 08:59:59.999999": [],
    "01 09:00": [("acme", "Acme", "mia", None)],
    "02 12:00": [("acme", "Acme AG", "mia", None), ("boreal", "Boreal", None, "10.00"), ("cedar", "Cedar", None, None)],
    "03 08:00": [("acme", "Acme AG", "leo", None), ("boreal", "Boreal", None, "10.00")],
    "03 12:00": [("acme", "Acme AG", "leo", None), ("boreal", "Boreal", None, "10.00")],
    "04 16:00": [("acme", "Acme AG", "leo", None)],
    "05 11:59": [("acme", "Acme AG", "leo", None)],
    "05 12:00": [("acme", "Acme AG", "leo", None), ("boreal", "Boreal", None, "12.50")],
    "06 08:00": [
        ("acme", "Acme AG", "leo", None),
        ("boreal", "Boreal", None, "12.50"),
        ("cedar", "Cedar Old", "ana", None),
    ],
}
"""Who lives at which moment, as known then: id, name, owner, revenue."""

LINKS = [
    ("company", "boreal", "acme", at("04 16:00"), at("04 16:00"), dt.date(2026, 3, 4)),
    ("company", "boreal", None, at("05 12:00"), at("05 12:00"), dt.date(2026, 3, 5)),
]
