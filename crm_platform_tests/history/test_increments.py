"""History and current tables day by day, over months, beside the same built at once: late rows, exports, lost events.

What is compared crosses the starts of months, so that closing states are made, used, and passed over.
"""

import datetime as dt
import random

import polars as pl
import pytest

from crm_platform.history.build import build_current, build_history, build_merges, merges_stale_from
from crm_platform.history.staleness import stale_from
from crm_platform.lake import Lake, compact, fingerprint
from crm_platform_tests.history.test_build import CONTRACTS, declared
from crm_platform_tests.scenario import COMPANY, change, landed

FIRST, LAST = dt.date(2026, 3, 1), dt.date(2026, 5, 9)
MANIFEST = declared(inferred_delete_limit={"rows": 99, "share": 1.0}, settling_lag="30h")
TABLES = ("history/company", "history/merges", "current/company")
NAMES = [f"c{number}" for number in range(14)]


def midnight(day):
    return dt.datetime.combine(day, dt.time(), dt.UTC)


class Stream:
    """Changes and exports of ten weeks, each with the day on which it arrives; a tenth comes days late, some never."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.changes, self.exports = {}, {}
        for number in range(260):
            row, day = self.change(number)
            if self.random.random() > 0.06:
                self.changes.setdefault(day + dt.timedelta(days=self.random.choice([0] * 9 + [3, 25])), []).append(row)
        for day in (FIRST + dt.timedelta(days=n) for n in (2, 9, 27, 30, 31, 32, 45, 61, 66)):
            self.exports[day] = self.export(day)

    def change(self, number):
        pick, moment = self.random.choice, midnight(FIRST) + dt.timedelta(hours=self.random.randint(0, 69 * 24))
        edited = moment + dt.timedelta(hours=pick([0, 0, 0, -300, -20, 40, 900]))
        kind = pick(["full", "full", "part", "part", "part", "delete", "merge", "undelete"])
        name, position = pick(NAMES), f"{number:04}"
        told = {
            "full": {"name": pick("xyz"), "owner_id": pick(["mia", "leo", None])},
            "part": {"changed_fields": ["owner_id"], "owner_id": pick(["mia", "leo", None])},
            "delete": {"operation": "delete"},
            "merge": {"operation": "merge", "merged_into": pick(NAMES)},
            "undelete": {"operation": "undelete", "changed_fields": []},
        }[kind]
        row = change(name, position, "01 00:00", **told)
        image = {"modified_at": edited} if row.get("id") else {}
        return row | image | {
            "event_time": edited, "processed_time": moment, "processed_date": moment.date(), "_batch_id": "b",
        }, moment.date()  # fmt: skip

    def export(self, day):
        finished = midnight(day) + dt.timedelta(hours=2)
        taken = {
            "started_at": finished - dt.timedelta(hours=self.random.choice([0, 1, 5])),
            "finished_at": finished,
            "snapshot_date": day,
            "_complete": True,
            "_batch_id": f"export-{day}",
            "_ingested_at": finished,
        }
        held = self.random.sample(NAMES, 11)
        rows = [
            {"entity_id": one, "id": one, "name": self.random.choice("xyz"), "modified_at": midnight(FIRST)} | taken
            for one in held
        ]
        return pl.DataFrame(rows, schema=COMPANY.snapshot_schema)

    def land(self, lake, since, until):
        """Lands what arrives on some days, each export with its day or, now and then, two days late."""
        for day in (since + dt.timedelta(days=n) for n in range((until - since).days + 1)):
            if self.changes.get(day):
                lake.append("landing/changes/company", landed(*self.changes[day]), token=f"changes of {day}")
            late = day - dt.timedelta(days=2)
            for taken in (day, late):
                if taken in self.exports and (taken.day % 3 == 0) == (taken == late):
                    lake.append("landing/snapshot/company", self.exports[taken], token=f"export of {taken}")


def tick(lake, day, last):
    """What a run over some days does; whether it began before them."""
    watermark = midnight(last + dt.timedelta(days=1)) - dt.timedelta(microseconds=1)

    def asked(stale):
        begin = max(min(filter(None, (stale, day))), FIRST)
        return [begin + dt.timedelta(days=n) for n in range((last - begin).days + 1)]

    days = asked(stale_from(lake, MANIFEST, CONTRACTS, "company", watermark=watermark) if day > FIRST else None)
    build_history(lake, MANIFEST, CONTRACTS, "company", days, first_day=FIRST, watermark=watermark)
    facts = asked(merges_stale_from(lake, MANIFEST) if day > FIRST else None)
    build_merges(lake, MANIFEST, CONTRACTS, facts, first_day=FIRST)
    build_current(lake, MANIFEST, CONTRACTS, "company", watermark=watermark)
    return days[0] < day


def contents(lake):
    return {table: fingerprint(lake.scan(table)) for table in TABLES}


@pytest.mark.parametrize("seed", [1, 2])
def test_day_by_day_is_at_once_whatever_comes_late(tmp_path, seed):
    stream, lake = Stream(seed), Lake(tmp_path / "lake")
    day, earlier, ticks = FIRST, 0, 0
    while day <= LAST:
        last = min(day + dt.timedelta(days=stream.random.choice([0, 1, 4, 8])), LAST)
        stream.land(lake, day, last)
        earlier += tick(lake, day, last)
        if stream.random.random() < 0.3:
            compact(lake, "history/company", before=day)
        at_once = Lake(tmp_path / f"at-once-{last}")
        stream.land(at_once, FIRST, last)
        tick(at_once, FIRST, last)
        assert contents(lake) == contents(at_once), last
        tick(lake, day, last)
        before = {table: lake.version(table) for table in lake.tables()}
        tick(lake, day, last)
        assert {table: lake.version(table) for table in lake.tables()} == before
        day, ticks = last + dt.timedelta(days=1), ticks + 1
    assert earlier > 3
    assert ticks - earlier > 1
    assert lake.scan("history/company").filter(pl.col("operation") == "repair").collect().height > 10
    assert set(lake.days("state/history/company")) >= {dt.date(2026, 4, 1), dt.date(2026, 5, 1)}


def test_facts_of_a_past_day_that_was_written_anew_and_came_to_the_same_are_stale_no_more(tmp_path):
    lake, days = Lake(tmp_path), [FIRST + dt.timedelta(days=number) for number in range(9)]
    Stream(5).land(lake, days[0], days[-1])
    tick(lake, days[0], days[-1])
    past = days[3]
    rows = lake.scan("history/company", days=[past]).collect()
    assert rows.height
    lake.replace("history/company", rows.clear(), days=[past])
    lake.replace("history/company", rows, days=[past])
    assert merges_stale_from(lake, MANIFEST) == past
    build_merges(lake, MANIFEST, CONTRACTS, days[3:])
    assert merges_stale_from(lake, MANIFEST) is None
    version = lake.version("history/merges")
    build_merges(lake, MANIFEST, CONTRACTS, days[3:])
    assert lake.version("history/merges") == version
