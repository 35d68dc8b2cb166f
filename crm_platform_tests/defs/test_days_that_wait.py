"""Days of which a check says that they will be built again: nothing is said of them, and what is red of them stays red."""

import datetime as dt

import dagster as dg
import polars as pl

from crm_platform.contracts import RANGES
from crm_platform.defs.checks import Declared, check_of
from crm_platform.defs.days import range_tags
from crm_platform.defs.platform import Platform
from crm_platform.lake import Lake, hold, red_partitions
from crm_platform.quality.result import CheckResult, Finding

TABLE = "features/lead"
FIRST = dt.date(2026, 3, 1)
DAYS = [FIRST + dt.timedelta(days=n) for n in range(4)]
PARTITIONS = dg.DailyPartitionsDefinition("2026-03-01", end_date="2026-03-05", timezone="UTC")


def land_until(lake, watermark):
    told = {
        "batch_id": "feed-0000000001",
        "from_offset": None,
        "to_offset": "1",
        "watermark": watermark,
        "status": "done",
        "events": 1,
        "recorded_at": watermark,
    }
    lake.append("landing/ranges", pl.DataFrame([told], schema=RANGES), token="1")


def test_a_day_that_waits_is_not_evaluated_and_stays_as_red_as_it_was(tmp_path):
    lake = Lake(tmp_path / "lake")
    land_until(lake, dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC))
    for day in (DAYS[0], DAYS[2], DAYS[3]):
        hold(lake, TABLE, day, "leakage", "it knew the future")

    def ask(_platform, _lake, days):
        assert list(days) == DAYS
        well = Finding(passed=True, what="as it was known", day=DAYS[1], total=3)
        return CheckResult("leakage", TABLE, [well], "build it again", waiting=frozenset(DAYS[2:]))

    @dg.asset(key=TABLE.split("/"), partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
    def timeline() -> None:
        """Stands for a table by day."""

    check = check_of(Declared("leakage", TABLE, "No step knows the future.", ask), PARTITIONS, "RUNBOOK")
    platform = Platform(source="sandbox", lake_root=str(lake.root), first_day=FIRST.isoformat())
    with dg.DagsterInstance.ephemeral() as instance:
        defs = dg.Definitions(
            assets=[timeline],
            asset_checks=[check],
            jobs=[dg.define_asset_job("all_days", dg.AssetSelection.all())],
            resources={"platform": platform},
        )
        run = defs.resolve_job_def("all_days").execute_in_process(
            instance=instance, tags=range_tags(DAYS[0], DAYS[-1]), raise_on_error=True
        )
        said = {one.partition: one for one in run.get_asset_check_evaluations()}
    assert {day: one.passed for day, one in said.items()} == {"2026-03-01": True, "2026-03-02": True, None: True}
    assert "2 days from 2026-03-03 on are to be built again: not judged." in str(said[None].description)
    assert [one.day for one in red_partitions(lake)] == DAYS[2:]
