"""Measures what a day more costs: after one, four and sixteen times the days, and beside a merge into the whole history.

`make bench-increments` writes its tables into docs/performance.md; `days` and `changes` are its two works. A day goes
through all that a tick does apart from Dagster: what is stale is asked, then history, merge facts, current tables and
timelines are built. Its answers are compared with building at once, or with what the merge holds.
"""

import datetime as dt
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import click
import numpy as np
import polars as pl
from deltalake import DeltaTable, write_deltalake

from crm_platform.contracts import Contract, Moment, Money, ObjectModel, Text, contracts_in, field
from crm_platform.features.build import build_features, stale_from
from crm_platform.features.catalogue import views_for
from crm_platform.history import state_as_of
from crm_platform.history.build import build_current, build_history, build_merges, merges_stale_from
from crm_platform.history.staleness import stale_from as history_stale_from
from crm_platform.history.versions import IDENTITY
from crm_platform.lake import Lake, fingerprint
from crm_platform.sources import Manifest, load_manifest
from crm_platform_tests.benchmarks import machine
from crm_platform_tests.benchmarks.measuring import PAGE
from crm_platform_tests.benchmarks.table import placed

LAST = dt.date(2026, 6, 20)
"""The last day of every history, so that all stand equally far from a month's start."""

MANIFEST = load_manifest("sandbox")
CONTRACTS = contracts_in(MANIFEST.contracts)
VIEW = views_for(MANIFEST, CONTRACTS)["account"]
CHANNELS = np.array(["phone", "email", "video", "onsite"])
ROUNDS = 5
AT_ONCE = 120
"""Days that are made and built at once: a commit holds a buffer for every day it writes."""
PART = 2_000_000
"""Rows of a made history that are written at once."""


def names(prefix, numbers):
    return prefix + pl.Series(numbers).cast(pl.String).str.zfill(9)


def landed(contract, rows, order):
    """Rows with all columns that a change has: edited and recorded at `recorded`, in µs since 1970."""
    recorded = pl.Series("processed_time", rows.pop("recorded")).cast(pl.Datetime("us", "UTC"))
    frame = pl.DataFrame({**rows, "event_time": recorded, "processed_time": recorded}).with_columns(
        names("", order).alias("source_position"),
        pl.col("entity_id").alias("id"),
        pl.col("processed_time").dt.date().alias("processed_date"),
        pl.lit(value=False).alias("is_tombstone"),
        pl.col("processed_time").alias("modified_at"),
        pl.lit("feed").alias("_channel"),
        pl.lit("made").alias("_batch_id"),
        pl.col("processed_time").alias("_ingested_at"),
    )
    absent = [pl.lit(None, dtype).alias(name) for name, dtype in contract.change_schema.items() if name not in frame]
    return frame.with_columns(absent).select(list(contract.change_schema)).cast(dict(contract.change_schema))


def micros_of(day):
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp()) * 1_000_000


def day_of_changes(rng, day, number, accounts, activities):
    """A day's changes: new activities, a tenth corrected within a month, one in a hundred older; accounts edited, merged."""
    at = micros_of(day) + np.sort(rng.integers(0, 86_400_000_000, activities + activities // 10))
    first = number * activities
    age = np.where(rng.random(activities // 10) < 0.1, rng.integers(0, max(number, 1), activities // 10), 0)
    corrected = np.clip(
        first + rng.integers(-30 * activities, activities, activities // 10) - age * activities, 0, None
    )
    acts = np.concatenate([np.arange(first, first + activities), np.minimum(corrected, first + activities - 1)])
    owner = acts * 2_654_435_761 % accounts
    took_place = at - rng.integers(0, 86_400_000_000, len(at))
    activity = landed(
        CONTRACTS["activity"],
        {
            "entity_id": names("x", acts),
            "recorded": at[rng.permutation(len(at))],
            "operation": np.where(np.arange(len(acts)) < activities, "create", "update"),
            "account_id": names("a", owner),
            "occurred_at": pl.Series(took_place).cast(pl.Datetime("us", "UTC")),
            "channel": CHANNELS[rng.integers(0, 4, len(acts))],
            "kind": CHANNELS[rng.integers(0, 4, len(acts))],
            "duration_minutes": rng.integers(1, 90, len(acts)),
            "owner_id": names("o", rng.integers(0, 20, len(acts))),
        },
        np.arange(len(acts)) + number * 10_000_000,
    )
    edited = np.arange(accounts) if number == 0 else rng.choice(accounts, max(accounts // 50, 2), replace=False)
    merged = np.zeros(len(edited), dtype=np.bool_)
    back = merged.copy()
    merged[-1], back[0] = number > 0 and number % 3 == 0, number > 0 and number % 5 == 0
    account = landed(
        CONTRACTS["account"],
        {
            "entity_id": names("a", edited),
            "recorded": micros_of(day) + rng.integers(0, 86_400_000_000, len(edited)),
            "operation": np.where(merged, "merge", np.where(back, "undelete", "create" if number == 0 else "update")),
            "merged_into": names("a", (edited + 1) % accounts).set(pl.Series(~merged), None),
            "tier": CHANNELS[rng.integers(0, 4, len(edited))],
            "industry": CHANNELS[rng.integers(0, 4, len(edited))],
        },
        np.arange(len(edited)) + number * 10_000_000,
    )
    return {"activity": activity, "account": account.with_columns(is_tombstone=pl.col("operation") == "merge")}


def stretch(count):
    return [LAST - dt.timedelta(days=back) for back in reversed(range(count))]


def tick(lake, first, days):
    """Builds some days as a run does, and tells the seconds of each room."""
    watermark = dt.datetime.combine(days[-1] + dt.timedelta(days=1), dt.time(), dt.UTC) - dt.timedelta(microseconds=1)
    seconds, begin = {}, time.perf_counter()

    def done(room):
        nonlocal begin
        seconds[room] = seconds.get(room, 0) + time.perf_counter() - begin
        begin = time.perf_counter()

    def asked(stale):
        start = max(min(filter(None, (stale, days[0]))), first)
        return [start + dt.timedelta(days=n) for n in range((days[-1] - start).days + 1)]

    for name in MANIFEST.objects:
        stale = history_stale_from(lake, MANIFEST, CONTRACTS, name, watermark=watermark) if days[0] > first else None
        build_history(lake, MANIFEST, CONTRACTS, name, asked(stale), first_day=first, watermark=watermark)
    done("history")
    stale = merges_stale_from(lake, MANIFEST) if days[0] > first else None
    build_merges(lake, MANIFEST, CONTRACTS, asked(stale), first_day=first)
    done("merges")
    for name in MANIFEST.objects:
        build_current(lake, MANIFEST, CONTRACTS, name, watermark=watermark)
    done("current")
    stale = stale_from(lake, CONTRACTS, VIEW, watermark=watermark) if days[0] > first else None
    build_features(lake, MANIFEST, CONTRACTS, VIEW, asked(stale), watermark=watermark, first_day=first)
    done("timeline")
    return seconds


def land(lake, changes):
    for name in ("account", "activity"):
        rows = pl.concat([one[name] for one in changes])
        first, last = rows["processed_date"].min(), rows["processed_date"].max()
        lake.append(f"landing/changes/{name}", rows, token=f"{first} to {last}")


class Growing:
    """A lake that was built for some days, and grows by one at a time."""

    def __init__(self, count, folder, *, accounts, activities, more):
        self.rng, self.whole = np.random.default_rng(7), stretch(count + more)
        self.sizes, self.folder, self.next = (accounts, activities), folder / f"days-{count}", 0
        while self.next < count:
            first = self.next
            self.land(min(count - first, AT_ONCE))
            tick(Lake(self.folder), self.whole[0], self.whole[first : self.next])

    def land(self, more):
        """Lands the changes of some more days, in one commit."""
        numbers = range(self.next, self.next + more)
        land(Lake(self.folder), [day_of_changes(self.rng, self.whole[one], one, *self.sizes) for one in numbers])
        self.next += more

    def step(self):
        """The seconds of the next day, by room."""
        self.land(1)
        return tick(Lake(self.folder), self.whole[0], [self.whole[self.next - 1]])

    def check(self):
        """Refuses what is not as if built at once."""
        lake, at_once = Lake(self.folder), Lake(self.folder.with_suffix(".at-once"))
        for name in ("account", "activity"):
            at_once.append(f"landing/changes/{name}", lake.scan(f"landing/changes/{name}"), token="all")
        tick(at_once, self.whole[0], self.whole)
        for table in ("history/activity", "history/account", "history/merges", "current/account", "features/account"):
            assert fingerprint(lake.scan(table)) == fingerprint(at_once.scan(table)), table


def days(counts, folder, *, accounts=2_000, activities=500, rounds=ROUNDS):
    """The median seconds of a day's increment, by room, after so many days each, in turn; the shortest history is checked
    beside building at once.

    The first day after a lake was built is not measured: it makes the month's closing states.
    """
    sizes = {"accounts": accounts, "activities": activities, "more": rounds + 1}
    lakes = {count: Growing(count, folder, **sizes) for count in counts}
    measured = [{count: lake.step() for count, lake in lakes.items()} for _ in range(rounds + 1)][1:]
    lakes[min(counts)].check()
    return {
        count: {room: median(one[count][room] for one in measured) for room in measured[0][count]} for count in counts
    }


class Deal(ObjectModel):
    """What changes are applied to."""

    id: Text = field("Its id.", key=True)
    stage: Text = field("How far it is.", nullable=True)
    amount: Money = field("For how much.", nullable=True)
    owner_id: Text = field("Whose it is.", nullable=True)
    modified_at: Moment = field("When it was last edited.", nullable=True)


DEALS = {"deal": Contract("made", "deal", Deal)}
DEAL_MANIFEST = Manifest.model_validate(
    {
        "name": "made",
        "title": "Deals alone",
        "contracts": "made",
        "knowledge": "source",
        "clock": "head",
        "settling_lag": "0s",
        "inferred_delete_limit": {"rows": 1, "share": 0.0},
        "deletes": {"announced": True, "silent": True, "undeletes": True},
        "transport": {"kind": "debezium_log", "topic": "crm.{table}"},
        "objects": {"deal": {"table": "deals", "kind": "opportunity", "key": "id"}},
    }
)


def deals(rng, rows, entities, *, since, until, is_past=True):
    """Full images of deals, recorded in order between two moments; of different ones, unless in the past."""
    return landed(
        DEALS["deal"],
        {
            "entity_id": names(
                "d", rng.integers(0, entities, rows) if is_past else rng.choice(entities, rows, replace=False)
            ),
            "recorded": np.sort(rng.integers(since, until, rows)),
            "operation": np.full(rows, "create"),
            "stage": CHANNELS[rng.integers(0, 4, rows)],
            "amount": pl.Series(rng.integers(0, 10**6, rows)).cast(pl.Decimal(18, 2)),
            "owner_id": names("o", rng.integers(0, 50, rows)),
        },
        np.arange(rows) + (0 if is_past else 10**9 - rows),
    )


def changes(versions, folder, *, changed=100_000, history_days=160, rounds=ROUNDS, beside=True):
    """The seconds of applying a day's changes to a history of so many versions, ours (the median of some days) and, of
    the day before them, (SCD2) delta-rs MERGE into a table of the same columns; answers compared."""
    rng, entities = np.random.default_rng(3), max(versions // 50, changed)
    whole = stretch(history_days + 1 + rounds)
    lake, table, path = Lake(folder / f"deals-{versions}"), "history/deal", folder / f"scd2-{versions}"
    for start in range(0, versions, PART):
        share = history_days * start // versions, history_days * min(start + PART, versions) // versions
        since, until = micros_of(whole[share[0]]), micros_of(whole[share[1]])
        rows = deals(rng, min(PART, versions - start), entities, since=since, until=until)
        made = rows.select(list(DEALS["deal"].history_schema))
        lake.replace(table, made, days=made["processed_date"].unique().to_list())
    arriving = [
        deals(rng, changed, entities, since=micros_of(day), until=micros_of(day) + 80_000_000_000, is_past=False)
        for day in whole[history_days:]
    ]
    if beside:
        _as_scd2(lake.scan(table).collect(), path)
        merging = _alone(_merged, arriving[0].drop("_payload"), path)
    seconds = _alone(_applied, lake.root, list(zip(whole[history_days:], arriving, strict=True)))
    found = {"ours": median(seconds)}
    if not beside:
        return found
    versions_now = lake.scan(table).select(*IDENTITY, *merging[1].columns[1:])
    assert fingerprint(state_as_of(versions_now, _end_of(whole[history_days]))) == fingerprint(merging[1])
    return found | {"delta-rs MERGE (SCD2)": merging[0]}


def _alone(work, *given):
    """What work gives, in a process of its own: what others have done to memory does not count."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *given).result()


def _end_of(day):
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), dt.UTC) - dt.timedelta(microseconds=1)


def _applied(root, arriving):
    """The seconds of building each day after the first, which warms the process up; days land before the clock."""
    seconds = []
    for day, rows in arriving:
        Lake(root).append("landing/changes/deal", rows, token=f"{day}")
        begin = time.perf_counter()
        report = build_history(Lake(root), DEAL_MANIFEST, DEALS, "deal", [day], watermark=_end_of(day))
        seconds.append(time.perf_counter() - begin)
        assert report.rows[day] == rows.height
    return seconds[1:]


def _as_scd2(versions, path):
    """Writes versions with the moment at which each one ends."""
    ends = pl.col("processed_time").shift(-1).over("entity_id")
    ordered = versions.sort("entity_id", "processed_time", maintain_order=True).with_columns(ends.alias("valid_to"))
    write_deltalake(str(path), ordered.to_arrow(compat_level=pl.CompatLevel.oldest()))


def _merged(arriving, path):
    """The seconds of closing and opening versions by MERGE, and the open ones afterwards."""
    both = pl.concat(
        [arriving.with_columns(key=pl.col("entity_id")), arriving.with_columns(key=pl.lit(None, pl.String))]
    )
    begin = time.perf_counter()
    (
        DeltaTable(str(path))
        .merge(
            both.to_arrow(compat_level=pl.CompatLevel.oldest()),
            "t.entity_id = s.key AND t.valid_to IS NULL",
            source_alias="s",
            target_alias="t",
        )
        .when_matched_update({"valid_to": "s.processed_time"})
        .when_not_matched_insert({name: f"s.{name}" for name in arriving.columns}, predicate="s.key IS NULL")
        .execute()
    )
    seconds = time.perf_counter() - begin
    held = pl.scan_delta(str(path)).filter(pl.col("valid_to").is_null())
    return seconds, held.select("entity_id", "stage", "amount", "owner_id").sort("entity_id").collect()


def days_table(found):
    """Seconds by part and how the whole grows, one row per history."""
    lines = [
        "| days before | history s | merges s | current s | timeline s | history, merges and timeline, times the first |",
        "|---|---|---|---|---|---|",
    ]
    first = None
    for count, seconds in found.items():
        total = seconds["history"] + seconds["merges"] + seconds["timeline"]
        first = first or total
        cells = " | ".join(f"{seconds[room]:.3f}" for room in ("history", "merges", "current", "timeline"))
        lines.append(f"| {count} | {cells} | {total / first:.2f} |")
    return "\n".join(lines)


def changes_table(found):
    """Seconds of everybody, one row per history and contestant; beside the largest history, how much it costs more."""
    lines = ["| versions before | who | seconds | times ours | times the smallest history |", "|---|---|---|---|---|"]
    first = min(found)
    for size, seconds in found.items():
        for who, took in seconds.items():
            grown = f"{took / found[first][who]:.2f}" if who in found[first] else ""
            lines.append(f"| {size:,} | {who} | {took:.3f} | {took / seconds['ours']:.1f} | {grown} |")
    return "\n".join(lines)


@click.command()
@click.option("--count", default=120, show_default=True, help="Days of the shortest history.")
@click.option("--times", default="1,4,16", show_default=True, help="How many times that, each.")
@click.option("--accounts", default=2_000, show_default=True, help="Accounts.")
@click.option("--activities", default=500, show_default=True, help="Activities a day.")
@click.option(
    "--versions", default=10_000_000, show_default=True, help="Versions of the history that changes apply to."
)
@click.option("--changed", default=100_000, show_default=True, help="Changes applied to it.")
@click.option("--rounds", default=ROUNDS, show_default=True, help="How many days are measured.")
@click.option("--only", type=click.Choice(["days", "changes"]), help="One of the works; docs/performance.md stays.")
def main(only, times, **sizes):
    """Measures what a day more costs, and what changes to a large history cost; writes both into docs/performance.md."""
    told = {"measured": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}", "commit": machine.commit(), "machine": machine.machine()}
    tables = ["\n".join(f"- {name}: {value}" for name, value in told.items())]
    if only != "changes":
        counts = [sizes["count"] * int(factor) for factor in times.split(",")]
        with tempfile.TemporaryDirectory() as folder:
            wanted = {name: sizes[name] for name in ("accounts", "activities", "rounds")}
            tables.append(days_table(days(counts, Path(folder), **wanted)))
    if only != "days":
        found = {}
        for size, beside in ((sizes["versions"] // 16, False), (sizes["versions"], True)):
            with tempfile.TemporaryDirectory() as folder:
                found[size] = changes(
                    size, Path(folder), changed=sizes["changed"], rounds=sizes["rounds"], beside=beside
                )
        tables.append(changes_table(found))
    click.echo("\n\n".join(tables))
    if only is None:
        page = placed(PAGE.read_text(), "\n\n".join(tables), "increments", "make bench-increments")
        PAGE.write_text(page)
        click.echo(f"Written into {PAGE}.", err=True)


if __name__ == "__main__":
    main()
