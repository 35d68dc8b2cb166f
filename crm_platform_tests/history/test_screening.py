"""Comparing only the entities that a stretch of snapshots may disagree about gives what comparing all of them gives."""

import datetime as dt
import random

import polars as pl
import pytest

from crm_platform.history.derive import Told, chunks, compared, rules_of, touched_around
from crm_platform.history.reconcile import Reconciled, Snapshot, reconcile
from crm_platform.history.screening import suspects
from crm_platform.history.state import state_as_of
from crm_platform.history.versions import versions_from
from crm_platform_tests.history.test_build import declared
from crm_platform_tests.scenario import COMPANY, LIFE, at, change, landed

RULES = rules_of(declared(settling_lag="2h", inferred_delete_limit={"rows": 3, "share": 0.0}), COMPANY)
NOBODY = pl.DataFrame(schema={"entity_id": pl.String, "processed_date": pl.Date})


def pool_of(*rows: dict) -> pl.DataFrame:
    return versions_from(landed(*rows).lazy(), COMPANY).kept.collect()


def taken(day: int) -> Snapshot:
    return Snapshot(
        dt.date(2026, 3, day), at(f"{day:02} 00:30"), at(f"{day:02} 01:00"), True, f"export-{day}", at("09 00:00")
    )


def random_rows(dice: random.Random) -> list[dict]:
    def row(number: int) -> dict:
        name, hour = f"c{dice.randint(1, 9)}", dice.randint(0, 150)
        moment = (at("01 00:00") + dt.timedelta(hours=hour)).strftime("%d %H:%M")
        late = (at("01 00:00") + dt.timedelta(hours=hour + dice.choice([0, 0, 5, 40]))).strftime("%d %H:%M")
        kind = dice.random()
        if kind < 0.2:
            return change(name, f"{number:03}", moment, late, operation="delete")
        if kind < 0.5:
            return change(name, f"{number:03}", moment, late, changed_fields=["owner_id"], owner_id=dice.choice("xyz"))
        return change(name, f"{number:03}", moment, late, name=dice.choice("PQ"), owner_id=dice.choice("xyz"))

    return [row(number) for number in range(40)]


def seen(pool: pl.DataFrame, snapshot: Snapshot, dice: random.Random) -> pl.DataFrame:
    """What history knew at a snapshot, some of it lost, some changed, some made up."""
    state = state_as_of(pool.lazy().filter(pl.col("processed_time") <= snapshot.finished_at), snapshot.finished_at)
    rows = state.filter(pl.Series([dice.random() > 0.15 for _ in range(state.height)], dtype=pl.Boolean))
    wrong = pl.Series([dice.random() < 0.2 for _ in range(rows.height)], dtype=pl.Boolean)
    return rows.with_columns(pl.when(wrong).then(pl.lit("lost")).otherwise("owner_id").alias("owner_id"))


def one_by_one(pool: pl.DataFrame, told: list[Told]) -> list[Reconciled]:
    found = []
    for one in told:
        when = one.snapshot
        known = pool.lazy().filter(pl.col("processed_time") <= when.finished_at)
        result = reconcile(
            one.rows,
            state_as_of(known, when.finished_at),
            when,
            COMPANY,
            left_out=touched_around(known, when.started_at - RULES.settling_lag, when.finished_at).collect(),
            quarantined=NOBODY.select("entity_id"),
            allows=RULES.allows,
        )
        pool = pl.concat([pool, result.versions])
        found.append(result)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_comparing_the_suspects_alone_finds_what_comparing_all_finds(seed):
    dice = random.Random(seed)
    pool = pool_of(*random_rows(dice))
    told = [Told(taken(day), seen(pool, taken(day), dice), is_first=False) for day in range(2, 8)]
    fast, slow = list(compared(pool, told, RULES, NOBODY)), one_by_one(pool, told)
    assert [found.versions.rows() for found in fast] == [found.versions.rows() for found in slow]
    for kind in ("rows", "living", "repair", "inferred_delete", "withheld"):
        assert [found.counts[kind] for found in fast] == [found.counts[kind] for found in slow]
    assert sum(found.versions.height for found in fast) > 0


def test_whoever_is_alike_on_both_sides_is_no_suspect():
    pool = pool_of(*LIFE)
    snapshots = [(at(f"{day:02} 01:00"), state_as_of(pool, at(f"{day:02} 01:00"))) for day in range(2, 8)]
    assert suspects(pool, snapshots, COMPANY).to_list() == []


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda rows: rows.filter(pl.col("entity_id") != "boreal"), ["boreal"]),
        (lambda rows: rows.with_columns(pl.lit("x").alias("owner_id")), ["acme", "boreal", "cedar"]),
        (lambda rows: pl.concat([rows, rows.head(1).with_columns(pl.lit("fir").alias("entity_id"))]), ["fir"]),
    ],
)
def test_who_is_missing_changed_or_unknown_in_one_of_the_snapshots_is_a_suspect(spoil, found):
    pool = pool_of(*LIFE)
    states = {day: state_as_of(pool, at(f"{day:02} 01:00")) for day in (2, 3, 6)}
    states[3] = spoil(states[3])
    snapshots = [(at(f"{day:02} 01:00"), rows) for day, rows in states.items()]
    assert suspects(pool, snapshots, COMPANY).to_list() == found


def test_snapshots_are_compared_in_chunks_and_the_first_stands_alone():
    rows = pl.DataFrame({"entity_id": ["a", "b"]})
    told = [Told(taken(day), rows, is_first=day == 2) for day in range(2, 8)]
    assert [[one.snapshot.day.day for one in chunk] for chunk in chunks(told, rows=4)] == [[2], [3, 4], [5, 6], [7]]
