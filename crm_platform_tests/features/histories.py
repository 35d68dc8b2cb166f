"""Random small histories that are as awkward as CRMs are, many of them in one frame so that the kernel is asked once.

Each history lives under ids of its own ("7:a", "7:x2"). Times lie on a coarse grid, so that everything happens at the
same instant now and then; versions are late, dated ahead, partial, repeated; keys and times change; entities are
deleted and come back; links form chains and cycles.
"""

import datetime as dt
import random
from decimal import Decimal

import polars as pl

UTC_US = pl.Datetime("us", "UTC")
START = dt.datetime(2028, 2, 26, tzinfo=dt.UTC)
"""Just before a leap day and the start of a month."""

HOUR = dt.timedelta(hours=1)
SPAN = 24 * 6
ENTITIES = "abc"
CHANNELS = ["mail", "call", None, "visit"]
STAGES = ["new", "open", None, "won"]

ACTIVITY_SCHEMA = {
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
    "currency": pl.String,
    "minutes": pl.Float64,
}
VERSION_SCHEMA = {
    **{name: ACTIVITY_SCHEMA[name] for name in list(ACTIVITY_SCHEMA)[:6]},
    "stage": pl.String,
    "size": pl.Int64,
}
MERGE_SCHEMA = {"loser_id": pl.String, "winner_id": pl.String, "event_time": UTC_US, "processed_time": UTC_US}


class Life:
    """One random history: rows as dicts, all under the ids of its number."""

    def __init__(self, number, *, is_partial=True, is_merging=True):
        self.number, self.random = number, random.Random(f"life {number}")
        self.positions = iter(range(1000, 10_000))
        self.is_partial = is_partial
        self.activities = [row for name in "xyzuvw"[: self.random.randint(2, 6)] for row in self.activity(name)]
        self.versions = [row for name in ENTITIES[: self.random.randint(1, 3)] for row in self.entity(name)]
        self.merges = self.facts() if is_merging else []
        for rows in (self.activities, self.versions, self.merges):
            rows.extend(self.random.sample(rows, len(rows) // 4))
            self.random.shuffle(rows)

    def id(self, name):
        return f"{self.number}:{name}"

    def moment(self, low=0, high=SPAN, grid=6):
        return START + HOUR * (self.random.randint(low // grid, high // grid) * grid)

    def times(self):
        event = self.moment()
        kind = self.random.random()
        late = dt.timedelta() if kind < 0.4 else HOUR * self.random.choice([6, 12, 48, 60]) * (-1 if kind < 0.55 else 1)
        return {"event_time": event, "processed_time": event + late}

    def envelope(self, name, fields):
        row = {"entity_id": self.id(name), **self.times(), "is_tombstone": False, "changed_fields": None, **fields}
        row["source_position"] = None if self.random.random() < 0.1 else f"{next(self.positions)}"
        if row["source_position"] is None:
            row["event_time"] += dt.timedelta(microseconds=next(self.positions))
            row["processed_time"] = row["event_time"] + HOUR * self.random.choice([0, 6])
        kind = self.random.random()
        if kind < 0.15:
            return row | dict.fromkeys(fields) | {"is_tombstone": True}
        if kind < 0.5 and self.is_partial:
            named = self.random.sample(list(fields), self.random.randint(0, len(fields)))
            return row | {"changed_fields": named} | {name: None for name in fields if name not in named}
        return row

    def activity(self, name):
        pick = self.random.choice
        occurred = self.moment()
        for _ in range(self.random.randint(1, 5)):
            if pick([True, False, False]):
                occurred = pick([self.moment(), None, self.moment(SPAN // 2, 2 * SPAN)])
            yield self.envelope(
                name,
                {
                    "account_id": pick([self.id(one) for one in ENTITIES] * 2 + [None]),
                    "occurred_at": occurred,
                    "channel": pick(CHANNELS),
                    "amount": pick(
                        [None, Decimal("0.10"), Decimal("12.34"), Decimal("-5.00"), Decimal("9999999999999.99")]
                    ),
                    "currency": pick(["EUR", "USD", None, "eur"]),
                    "minutes": pick([None, 0.1, 0.2, 12.5, -3.75, 1e6]),
                },
            )

    def entity(self, name):
        pick = self.random.choice
        for _ in range(self.random.randint(0, 4)):
            yield self.envelope(name, {"stage": pick(STAGES), "size": pick([None, 1, 2])})

    def facts(self):
        made = []
        for _ in range(self.random.choice([0, 0, 1, 2, 3, 5])):
            loser = self.random.choice(ENTITIES)
            winner = self.random.choice([self.id(one) for one in ENTITIES if one != loser] * 2 + [None])
            made.append({"loser_id": self.id(loser), "winner_id": winner, **self.times()})
        return made


def lives(first, count, **how):
    return [Life(number, **how) for number in range(first, first + count)]


def frames(them):
    """Activities, merges and versions of many lives, one frame each."""
    return (
        pl.DataFrame([row for life in them for row in life.activities], schema=ACTIVITY_SCHEMA),
        pl.DataFrame([row for life in them for row in life.merges], schema=MERGE_SCHEMA),
        pl.DataFrame([row for life in them for row in life.versions], schema=VERSION_SCHEMA),
    )
