"""Rebuilding a window: what it says, what it does, what it leaves alone, and that it goes on where it was cut off."""

import dagster as dg
import pytest
from click.testing import CliRunner

from crm_platform.cli import main
from crm_platform.defs.assembly import build_defs
from crm_platform.defs.platform import Platform
from crm_platform.defs.rebuilding import PIECE, late_data, plan_of, rebuilt
from crm_platform.defs.sandboxed import dagster_home
from crm_platform.lake import Lake, hold, release
from crm_platform_tests.pipeline import FIRST, contents, run_days, sandbox_at, settings_in, versions

DAYS = 34
APRIL = FIRST.replace(month=4)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rebuilds")
    with sandbox_at(folder / "sandbox", days=DAYS, accounts=12) as base_url:
        settings = settings_in(folder, base_url, DAYS)
        assert run_days(settings, FIRST, settings.last_day)
    return settings


@pytest.fixture
def settings(ran):
    dagster_home(ran)
    return ran


def command(settings, *words):
    return CliRunner().invoke(main, ["rebuild", *words, "--config", str(settings.folder / "crm_platform.yaml")])


def forget(lake, table, days):
    """Takes the rows of some days away, as nobody but a test does."""
    lake.replace(table, lake.scan(table).clear().collect(), days=days)


def pieces_run():
    with dg.DagsterInstance.get() as instance:
        return [run.tags[PIECE] for run in reversed(instance.get_runs()) if PIECE in run.tags]


def test_a_dry_run_says_days_tables_rows_and_training_sets_and_does_nothing(settings):
    lake = Lake(settings.lake_root)
    before, runs = versions(lake), len(pieces_run())
    done = command(settings, "--from", "2026-03-20", "--objects", "lead,activity", "--dry-run")
    assert done.exit_code == 0, done.output
    held = sum(rows for day, rows in lake.rows_by_day("history/lead").items() if str(day) >= "2026-03-20")
    assert f"history/lead: 15 days, {held:,} rows" in done.output
    assert "15 days, 2026-03-20 to 2026-04-03, in 2 pieces; 7 tables" in done.output
    assert "features/lead" in done.output
    assert "history/owner" not in done.output
    assert "superseded where their inputs change: lead_conversion/" in done.output
    assert versions(lake) == before
    assert len(pieces_run()) == runs


def test_a_rebuild_restores_what_was_lost_goes_by_months_and_does_not_touch_what_landed(settings):
    lake = Lake(settings.lake_root)
    whole, landed = contents(lake), {t: v for t, v in versions(lake).items() if t.startswith("landing")}
    days = [FIRST.replace(day=day) for day in range(20, 31)]
    forget(lake, "history/lead", days)
    forget(lake, "features/lead", days)
    assert contents(lake) != whole
    done = command(settings, "--from", "2026-03-20")
    assert done.exit_code == 0, done.output
    assert "piece 1 of 2: 2026-03-20 to 2026-03-31" in done.output
    assert "piece 2 of 2: 2026-04-01 to 2026-04-03" in done.output
    assert contents(lake) == whole
    assert {t: v for t, v in versions(lake).items() if t.startswith("landing")} == landed
    before = versions(lake)
    again = command(settings, "--from", "2026-03-20")
    assert again.exit_code == 0, again.output
    assert "piece 1 of 2: 2026-03-20" in again.output
    assert versions(lake) == before


def test_a_rebuild_that_was_cut_off_goes_on_with_the_month_it_was_in(settings):
    plan = plan_of(Platform.from_settings(settings), FIRST, None, ["owner"])
    did, told = [], []

    def run(first, last, tags, fails=()):
        did.append((first, last))
        ok = first not in fails
        with dg.DagsterInstance.get() as instance:
            status = dg.DagsterRunStatus.SUCCESS if ok else dg.DagsterRunStatus.FAILURE
            instance.add_run(dg.DagsterRun(job_name="rebuild", tags=tags, status=status))
        return ok

    with dg.DagsterInstance.get() as instance:
        assert not rebuilt(plan, instance, lambda *asked: run(*asked, fails=[APRIL]), told.append)
        assert rebuilt(plan, instance, run, told.append)
        assert did == [*plan.pieces, plan.pieces[1]]
        assert "piece 1 of 2, 2026-03-01 to 2026-03-31: done before the rebuild was cut off" in told
        assert rebuilt(plan, instance, run, told.append)
    assert did[3:] == plan.pieces


def test_a_red_day_stops_a_rebuild_and_is_named(settings):
    lake = Lake(settings.lake_root)
    hold(lake, "landing/snapshot/owner", APRIL, "schema_drift", "made for this test")
    try:
        plan = plan_of(Platform.from_settings(settings), FIRST.replace(day=30), None)
        assert (plan.days[-1], plan.blocked) == (FIRST.replace(day=31), APRIL)
        assert "It stops before 2026-04-01, which is red." in list(plan.lines())
        assert plan_of(Platform.from_settings(settings), FIRST, None, ["lead"]).blocked is None
        stopped = command(settings, "--from", "2026-04-01", "--dry-run")
        assert stopped.exit_code == 1
        assert "Nothing is rebuilt: 2026-04-01 is red." in stopped.output
    finally:
        release(lake, "landing/snapshot/owner", [APRIL])


def test_the_job_in_the_ui_says_the_same_and_does_the_same(settings):
    lake = Lake(settings.lake_root)
    whole = contents(lake)
    job = build_defs(settings).resolve_job_def("rebuild_window_asked")

    def asked(**config):
        with dg.DagsterInstance.get() as instance:
            ops = {"rebuild_window": {"config": {"first": "2026-03-30", "objects": ["owner"], **config}}}
            result = job.execute_in_process(run_config={"ops": ops}, instance=instance, raise_on_error=False)
            events = instance.all_logs(result.run_id)
        return result.success, "\n".join(event.user_message for event in events)

    runs = len(pieces_run())
    ok, said = asked()
    assert ok
    assert "history/owner: 5 days" in said
    assert len(pieces_run()) == runs
    forget(lake, "history/owner", [FIRST.replace(day=30)])
    ok, said = asked(dry_run=False)
    assert ok, said
    assert "piece 2 of 2: 2026-04-01 to 2026-04-03" in said
    assert contents(lake) == whole


def test_nothing_is_requested_at_night_unless_something_came_late(settings):
    platform = Platform.from_settings(settings)
    assert "nothing came late" in late_data(platform=platform).skip_message
    forget(Lake(settings.lake_root), "history/lead", [FIRST.replace(day=25)])
    request = late_data(platform=platform)
    assert request.tags["dagster/asset_partition_range_start"] == "2026-03-28"
    assert request.tags["dagster/asset_partition_range_end"] == "2026-04-03"
    wider = late_data(platform=Platform.from_settings(settings.model_copy(update={"late_days": 30})))
    assert wider.tags["dagster/asset_partition_range_start"] == "2026-03-25"
    done = command(settings, "--from", "2026-03-25", "--objects", "lead")
    assert done.exit_code == 0, done.output
    assert "nothing came late" in late_data(platform=platform).skip_message


def test_what_cannot_be_rebuilt_is_refused_with_what_can(settings):
    unknown = command(settings, "--from", "2026-03-20", "--objects", "leed")
    assert unknown.exit_code == 1
    assert "There is no object leed; there are: account, contact, lead" in unknown.output
    nowhere = command(settings, "--from", "2026-05-01")
    assert nowhere.exit_code == 1
    assert "covered by what has landed (2026-03-01 to 2026-04-03)" in nowhere.output
