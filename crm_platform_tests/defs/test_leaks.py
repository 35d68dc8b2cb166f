"""Leaks of five kinds, built for real over the sandbox: the check that tells each, its partition, and what it holds back.

A leaky timeline is what the kernel builds from a history that believes too much; it takes the place of the true one.
"""

import datetime as dt
import shutil

import dagster as dg
import polars as pl
import pytest

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.checklist import WHOLE_PAST
from crm_platform.defs.days import range_tags
from crm_platform.defs.jobs import WHOLE_PAST_JOB
from crm_platform.defs.platform import Platform
from crm_platform.defs.sandboxed import dagster_home
from crm_platform.features import point_in_time_join, training_set
from crm_platform.features.build import build_features
from crm_platform.features.catalogue import views_for
from crm_platform.features.gated import GateError
from crm_platform.features.training import build_training_set, stored_set, timelines_of
from crm_platform.lake import Lake, red_partitions
from crm_platform.landing import watermark
from crm_platform_tests.features.stored_sets import built_with
from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in

DAYS = 45
LEADS = "features/lead"
NAME = "lead_conversion"
CUT = dt.date(2026, 3, 23)
"""The middle of the days: where a build over all of them is cut."""
SILENT = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ALL = [FIRST + dt.timedelta(days=n) for n in range(DAYS)]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A whole run without a leak."""
    folder = tmp_path_factory.mktemp("honest")
    with sandbox_at(folder / "sandbox", days=DAYS, accounts=40) as base_url:
        settings = settings_in(folder, base_url, DAYS)
        assert run_days(settings, FIRST, settings.last_day)
    return settings


@pytest.fixture
def settings(honest, tmp_path):
    """The same lake and the same instance, to be spoiled."""
    shutil.copytree(honest.folder, tmp_path / "here")
    return honest.model_copy(update={"folder": tmp_path / "here"})


@pytest.fixture
def lake(settings):
    return Lake(settings.lake_root)


def asked(settings, table, days=ALL, job=None, *, built=False):
    """Runs the checks of a table in Dagster, perhaps after it was built: {check: the partitions that failed, None for all of it}."""
    dagster_home(settings)
    key = dg.AssetKey(table.split("/"))
    chosen = dg.AssetSelection.assets(key) if built else dg.AssetSelection.checks_for_assets(key)
    if table.startswith("features/"):
        chosen -= dg.AssetSelection.checks(dg.AssetCheckKey(key, WHOLE_PAST))
    checks = dg.define_asset_job("checks", chosen)
    defs = dg.Definitions.merge(build_defs(settings), dg.Definitions(jobs=[checks]))
    with dg.DagsterInstance.get() as instance:
        run = defs.resolve_job_def(job or "checks").execute_in_process(
            instance=instance, tags=range_tags(days[0], days[-1]), raise_on_error=False, run_config=SILENT
        )
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    said = [event.get_dagster_event().asset_check_evaluation_data for event in events]
    failed: dict[str, list] = {}
    for one in said:
        if not one.passed and one.asset_key == key:
            failed.setdefault(one.check_name, []).append(one.partition)
    assert said
    return {check: sorted(filter(None, partitions)) or None for check, partitions in failed.items()}


def red(lake, check):
    return [one.day.isoformat() for one in red_partitions(lake) if (one.asset, one.check) == (LEADS, check)]


def built_from(settings, lake, object_name, believed, tmp_path):
    """Puts the timeline of leads in place that is built where an object's history says something else."""
    platform = Platform.from_settings(settings)
    scratch = Lake(tmp_path / "scratch")
    for table in ("history", "landing/ranges"):
        shutil.copytree(f"{settings.lake_root}/{table}", tmp_path / "scratch" / table)
    table = f"history/{object_name}"
    rows = believed(scratch.scan(table).collect()).with_columns(processed_date=pl.col("processed_time").dt.date())
    days = {*scratch.days(table), *rows["processed_date"]}
    scratch.replace(table, rows, days=sorted(days))
    bound = views_for(platform.manifest, platform.contracts)["lead"]
    build_features(scratch, platform.manifest, platform.contracts, bound, ALL, watermark=watermark(lake))
    put(lake, scratch.scan(LEADS).collect())


def put(lake, steps):
    days = sorted({*lake.days(LEADS), *steps["known_date"]})
    assert lake.replace(LEADS, steps, days=days) is not None


def spoil(lake, frame):
    built_with(stored_set(lake, NAME), frame)


def shifted(rows, when, **columns):
    return rows.with_columns(pl.when(when).then(value).otherwise(name).alias(name) for name, value in columns.items())


def refused(lake, words):
    with pytest.raises(GateError, match=words):
        training_set(lake, NAME)


def test_without_a_leak_nothing_is_accused_and_the_set_is_found_by_name(settings, lake):
    assert asked(settings, LEADS) == {}
    assert asked(settings, f"training/{NAME}") == {}
    assert asked(settings, LEADS, job=WHOLE_PAST_JOB) == {}
    assert training_set(lake, NAME).frame.height > 0


def test_an_activity_that_counts_three_days_before_it_happens_is_told_on_each_of_its_days(settings, lake, tmp_path):
    early = dt.timedelta(days=3)
    names = ("event_time", "processed_time", "occurred_at")
    ahead = pl.col("event_time") >= dt.datetime(2026, 3, 20, tzinfo=dt.UTC)
    built_from(
        settings, lake, "activity", lambda rows: shifted(rows, ahead, **{n: pl.col(n) - early for n in names}), tmp_path
    )
    told = asked(settings, LEADS)
    assert told["leakage_truncation"][0] == "2026-03-17"
    assert told["leakage_truncation"][-1] > CUT.isoformat()
    assert "leakage_recomputed" in told
    assert red(lake, "leakage_truncation") == told["leakage_truncation"]
    assert training_set(lake, NAME).manifest.recipe.last.date() < dt.date(2026, 3, 17)  # reads nothing of those days


def test_a_status_as_it_is_today_in_the_past_is_told_by_its_name(settings, lake, tmp_path):
    today = pl.col("status").drop_nulls().last().over("entity_id", order_by=["event_time", "processed_time"])
    built_from(
        settings, lake, "lead", lambda rows: shifted(rows, pl.col("status").is_not_null(), status=today), tmp_path
    )
    told = asked(settings, LEADS)
    assert told["leakage_truncation"][0] == "2026-03-01"
    assert "in changed_at, status, status_since." in red_partitions(lake)[0].detail
    assert "leakage_recomputed" in told
    refused(lake, "features/lead, whose day 2026-03-01 is red")


@pytest.mark.parametrize("at_close", [False, True])
def test_the_label_or_its_proxy_among_the_features_is_told_with_its_score(settings, lake, at_close):
    found = stored_set(lake, NAME)
    rows = found.frame
    if at_close:
        later = rows.select("entity_id", pl.col("label_known_at").alias("as_of"))
        steps = timelines_of(lake, found.manifest, until=found.manifest.watermark)["lead"]
        status = point_in_time_join(later, steps).get_column("status")
        spoil(lake, rows.with_columns(status.alias("lead__status_at_close")))
    else:
        spoil(lake, rows.with_columns(pl.col("label").alias("lead__is_won")))
    told = asked(settings, f"training/{NAME}")
    assert set(told) == {"leakage", "perfect_predictors"}
    named = "lead__status_at_close" if at_close else "lead__is_won"
    refused(lake, rf"its check leakage, perfect_predictors failed\. Features are not those known.*{named}")


def test_a_late_row_that_is_believed_at_its_event_time_is_told_and_mended_by_building_it_again(
    settings, lake, tmp_path
):
    since = pl.col("event_time") >= dt.datetime(2026, 3, 10, tzinfo=dt.UTC)
    built_from(
        settings, lake, "activity", lambda rows: shifted(rows, since, processed_time=pl.col("event_time")), tmp_path
    )
    told = asked(settings, LEADS)
    assert told["leakage_truncation"][0] == "2026-03-10"
    whole = asked(settings, LEADS, job=WHOLE_PAST_JOB)
    assert whole[WHOLE_PAST][0] == "2026-03-10"
    assert whole[WHOLE_PAST][-1] > CUT.isoformat()
    refused(lake, "features/lead, whose day 2026-03-10 is red")
    assert asked(settings, LEADS, built=True) == {}
    assert asked(settings, LEADS, job=WHOLE_PAST_JOB) == {}
    assert red_partitions(lake) == []
    assert training_set(lake, NAME).frame.height > 0


def test_a_window_that_keeps_what_left_it_a_microsecond_ago_is_told(settings, lake):
    expires = pl.col("changed_at") < pl.col("known_at")
    steps = lake.scan(LEADS).collect()
    put(lake, shifted(steps, expires, known_at=pl.col("known_at") + dt.timedelta(microseconds=1)))
    told = asked(settings, LEADS)
    assert set(told) == {"leakage_truncation", "leakage_recomputed"}
    refused(lake, "features/lead, whose day .* is red by leakage_")


def test_features_from_within_the_embargo_are_told_in_the_set(settings, lake):
    manifest = Platform.from_settings(settings).manifest
    embargo = dt.timedelta(days=2)
    build_training_set(lake, manifest, NAME, watermark=watermark(lake), embargo=embargo)
    assert asked(settings, f"training/{NAME}") == {}
    found = training_set(lake, NAME)
    assert found.manifest.recipe.embargo == embargo
    timelines = {
        name: steps.collect()
        for name, steps in timelines_of(lake, found.manifest, until=found.manifest.watermark).items()
    }
    rows = found.frame.select("entity_id", "as_of", *found.manifest.labels)
    spoil(lake, point_in_time_join(rows, timelines))
    assert asked(settings, f"training/{NAME}") == {"leakage": None}
    refused(lake, "its check leakage failed")
