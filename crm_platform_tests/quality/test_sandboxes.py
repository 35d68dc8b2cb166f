"""Sixty days of healthy sandbox CRMs, drawn from several seeds: nothing warns; what is then bent is told, and nothing else."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
import pytest

from crm_platform.contracts import RANGES, Contract, contracts_in
from crm_platform.lake import Lake
from crm_platform.quality.measures import lateness_measure, measures
from crm_platform.quality.samples import Sample, sample_of
from crm_platform.quality.values import value_drift
from crm_platform.quality.volume import volume
from crm_platform.sandbox import SandboxConfig
from crm_platform.sandbox.changelog import ChangeLog
from crm_platform.sandbox.simulator import generated
from crm_platform.sources import load_manifest

MANIFEST = load_manifest("sandbox")
CONTRACTS = contracts_in("crm_platform.contracts.sandbox")
FIRST, COUNT = dt.date(2026, 3, 1), 60
DAYS = [FIRST + dt.timedelta(days=n) for n in range(COUNT)]
SEEDS = (7, 1, 2, 3)
"""That of `make demo`, and others."""


@dataclass(frozen=True)
class Crm:
    """A lake with a sandbox's exports of sixty days and all of its changes."""

    lake: Lake
    end: dt.datetime


def midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def shaped(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    lacking = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in schema.items() if name not in frame.columns]
    return frame.with_columns(lacking).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def exported(log: ChangeLog, contract: Contract, end: dt.datetime) -> pl.DataFrame:
    """What an export at the end of each day shows."""
    shown: list[pl.DataFrame] = []
    for day in DAYS:
        at = midnight(day + dt.timedelta(days=1))
        living = log.state(contract.object, as_of=at, clock=end).filter(~pl.col("_deleted"))
        told = {"started_at": at, "finished_at": at, "snapshot_date": day, "_complete": True}
        shown.append(
            living.with_columns(pl.col("id").alias("entity_id"), *(pl.lit(v).alias(k) for k, v in told.items()))
        )
    return shaped(pl.concat(shown), contract.snapshot_schema)


def streamed(log: ChangeLog, contract: Contract, end: dt.datetime) -> pl.DataFrame:
    """What the stream brings until the end."""
    rows = log.scan(contract.object).filter(~pl.col("_hidden"), pl.col("_visible") < end).collect()
    times = {"entity_id": "id", "event_time": "_event", "processed_time": "_commit"}
    told = rows.select(pl.col(name).alias(own) for own, name in times.items())
    return shaped(told.with_columns(processed_date=pl.col("processed_time").dt.date()), contract.change_schema)


@pytest.fixture(scope="module", params=SEEDS)
def crm(request, tmp_path_factory) -> Crm:
    folder = tmp_path_factory.mktemp(f"seed{request.param}")
    config = SandboxConfig.model_validate({"seed": request.param, "extra_days": 0, "folder": folder / "sandbox"})
    log, lake = ChangeLog(generated(config)), Lake(folder / "lake")
    for contract in CONTRACTS.values():
        name = contract.object
        lake.append(f"landing/snapshot/{name}", exported(log, contract, config.ends_at), token="all")
        lake.append(f"landing/changes/{name}", streamed(log, contract, config.ends_at), token="all")
    batch = {
        "batch_id": "feed-0000000001",
        "to_offset": "1",
        "watermark": config.ends_at,
        "status": "done",
        "events": 1,
    }
    lake.append("landing/ranges", shaped(pl.DataFrame([batch]), RANGES), token="1")
    return Crm(lake, config.ends_at)


@pytest.mark.parametrize("name", CONTRACTS)
def test_nothing_warns_on_any_day_of_a_healthy_crm(crm, name):
    found = value_drift(crm.lake, CONTRACTS[name], DAYS, references=MANIFEST.references_of(name))
    assert [(one.day, one.what) for one in found.findings if not one.passed] == []
    assert sum("warming_up" in one.facts for one in found.findings) == 7


@pytest.mark.parametrize("name", CONTRACTS)
def test_no_days_changes_are_too_many_or_too_few(crm, name):
    found = volume(crm.lake, CONTRACTS[name], DAYS)
    assert [(one.day, one.what) for one in found.findings if not one.passed] == []


DAY = DAYS[45]
Bend = Callable[[pl.DataFrame], pl.DataFrame]


def written(column: str, value: object, share: int) -> Bend:
    """Every so many rows have another value in a column."""
    every = pl.int_range(pl.len()) % share == 0
    return lambda rows: rows.with_columns(pl.when(every).then(pl.lit(value)).otherwise(column).alias(column))


def scaled(column: str) -> Bend:
    """A column of numbers is ten times what it was: cents for euros, say."""
    return lambda rows: rows.with_columns(pl.col(column) * 10)


def thinned(rows: pl.DataFrame) -> pl.DataFrame:
    """Two of three rows are missing."""
    return rows.gather_every(3)


def twice(rows: pl.DataFrame) -> pl.DataFrame:
    """Every row is there again."""
    return pl.concat([rows, rows])


def over(crm: Crm, name: str, bend: Bend, bend_before: Bend = lambda rows: rows) -> list[str]:
    """What is told of an export that was bent, held against those before it."""
    contract = CONTRACTS[name]

    def sample(day: dt.date, bent: Bend) -> Sample:
        rows = bent(crm.lake.scan(f"landing/snapshot/{name}", days=[day]).select(contract.columns).collect())
        return sample_of(contract, (day,), rows.height, rows)

    before = [sample(DAY - dt.timedelta(days=n), bend_before) for n in range(1, 8)]
    told = measures(contract, before, sample(DAY, bend), of_rows=True, references=MANIFEST.references_of(name))
    return [one.name for one in told if one.is_over]


BENT = [
    ("lead", written("source", "web", 2), ["psi source"]),
    ("lead", written("employees", None, 4), ["nulls employees"]),
    ("lead", thinned, ["rows"]),
    ("lead", twice, ["rows"]),
    ("activity", written("outcome", None, 2), ["nulls outcome"]),
    ("activity", scaled("duration_minutes"), ["psi duration_minutes"]),
    ("account", scaled("annual_revenue"), ["psi annual_revenue"]),
    ("contact", written("title", "Intern", 2), ["psi title"]),
]


@pytest.mark.parametrize(("name", "bend", "told"), BENT)
def test_what_is_bent_is_told_and_nothing_else(crm, name, bend, told):
    assert over(crm, name, bend) == told


def test_a_category_that_comes_with_a_real_share_is_told_and_one_that_a_few_have_is_not(crm):
    """No account was in energy so far; then every tenth one is, or three are."""
    before = written("industry", "retail", 1)
    assert "new values industry" in over(
        crm, "account", lambda rows: written("industry", "energy", 10)(before(rows)), before
    )
    few = pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("energy")).otherwise(pl.lit("retail")).alias("industry")
    assert over(crm, "account", lambda rows: rows.with_columns(few), before) == []


@pytest.mark.parametrize("name", ["lead", "activity"])
def test_a_day_whose_changes_come_a_month_late_is_told(crm, name):
    behind = (pl.col("processed_time") - pl.col("event_time")).dt.total_microseconds().alias("behind")
    scanned = crm.lake.scan(f"landing/changes/{name}", days=DAYS[38:46]).select("processed_date", behind).collect()
    late = {
        day: part.get_column("behind") for (day,), part in scanned.partition_by("processed_date", as_dict=True).items()
    }
    assert [one for one in lateness_measure(late, DAY, DAYS[38:45]) if one.is_over] == []
    month = 30 * 86_400_000_000
    odd = {**late, DAY: late[DAY] + month}
    assert [one.name for one in lateness_measure(odd, DAY, DAYS[38:45]) if one.is_over] == ["late changes"]
