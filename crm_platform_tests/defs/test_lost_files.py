"""Files lost behind the log: a rebuild derives them again, whatever was lost; what landed is said to be lost, and mended."""

import datetime as dt
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from crm_platform.cli import main
from crm_platform.defs.platform import Platform
from crm_platform.defs.rebuilding import late_data
from crm_platform.defs.sandboxed import dagster_home
from crm_platform.lake import Lake, audit_log, lost_files
from crm_platform_tests.lake.test_lost import cut, remove, zero
from crm_platform_tests.pipeline import FIRST, contents, run_days, sandbox_at, settings_in, versions

DAYS = 34
MARCH_25, MARCH_28, MARCH_30, APRIL_2 = (FIRST + dt.timedelta(days=n) for n in (24, 27, 29, 32))
HARMS = [
    ("history/lead", MARCH_25, remove),
    ("history/activity", MARCH_28, cut),
    ("history/lead", APRIL_2, zero),
    ("features/lead", MARCH_30, remove),
    ("features/account", APRIL_2, cut),
    ("features/contact", MARCH_25, zero),
    ("current/lead", None, remove),
    ("current/activity", None, cut),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A lake of 34 days, while its CRM goes on to answer."""
    folder = tmp_path_factory.mktemp("lost")
    with sandbox_at(folder / "sandbox", days=DAYS, accounts=12) as base_url:
        settings = settings_in(folder, base_url, DAYS)
        assert run_days(settings, FIRST, settings.last_day)
        yield settings


@pytest.fixture
def settings(world):
    """The same lake, put back as it was afterwards."""
    lake, whole = Path(world.lake_root), world.folder / "whole"
    if not whole.exists():
        shutil.copytree(lake, whole)
    dagster_home(world)
    yield world
    shutil.rmtree(lake)
    shutil.copytree(whole, lake)


def command(settings, *words):
    return CliRunner().invoke(main, [*words, "--config", str(settings.folder / "crm_platform.yaml")])


def files(lake, table, day=None):
    return [Path(file) for file in lake.files(table, None if day is None else [day])]


def lose(lake, table, day=None, harm=remove):
    """Harms every file of a day; how many rows are gone."""
    gone = lake.rows(table) if day is None else lake.rows_by_day(table)[day]
    for file in files(lake, table, day):
        harm(file)
    return gone


def test_a_rebuild_derives_again_whatever_is_gone_or_broken_and_says_which_files_were(settings):
    lake = Lake(settings.lake_root)
    whole = contents(lake)
    for table, day, harm in HARMS:
        assert lose(lake, table, day, harm) > 0
    for table in [name for name in lake.tables() if name.startswith("state/")]:
        lose(lake, table)
    done = command(settings, "rebuild", "--from", str(MARCH_25))
    assert done.exit_code == 0, done.output
    for table, day, harm in HARMS:
        part = "" if day is None else f"/{'known' if table.startswith('features') else 'processed'}_date={day}"
        why = {remove: "is missing", cut: "has 100 of", zero: "is no Parquet file"}[harm]
        (told,) = [line for line in done.output.splitlines() if f"cannot be read: {table}{part}/" in line]
        assert why in told
    lake = Lake(settings.lake_root)
    assert contents(lake) == whole
    assert [name for name in lake.tables() if lost_files(lake, name)] == []
    before = versions(lake)
    again = command(settings, "rebuild", "--from", str(MARCH_25))
    assert again.exit_code == 0, again.output
    assert "cannot be read" not in again.output
    assert versions(Lake(settings.lake_root)) == before


def test_what_is_lost_outside_the_days_asked_for_is_derived_again_too(settings):
    lake = Lake(settings.lake_root)
    whole = contents(lake)
    lose(lake, "history/lead", MARCH_25)
    lose(lake, "features/lead", MARCH_28)
    lose(lake, "history/lead", APRIL_2)
    days = "--from", str(MARCH_30), "--to", str(MARCH_30)
    done = command(settings, "rebuild", *days, "--objects", "lead")
    assert done.exit_code == 0, done.output
    assert "2026-03-25 is not what has landed by now comes to: building from there" in done.output
    assert contents(Lake(settings.lake_root)) == whole


def test_the_check_of_parity_names_a_lost_file_and_the_night_asks_for_its_day(settings):
    lose(Lake(settings.lake_root), "history/lead", MARCH_30)
    found = command(settings, "check", "history/lead", "parity")
    assert found.exit_code == 1
    assert "1 files that the log names cannot be read; the first is missing." in found.output
    assert "crm-platform rebuild --from 2026-03-30" in found.output
    request = late_data(platform=Platform.from_settings(settings))
    assert request.tags["dagster/asset_partition_range_start"] == "2026-03-30"


def test_a_check_or_body_that_reads_a_lost_file_says_what_to_run(settings):
    lose(Lake(settings.lake_root), "history/lead", MARCH_30)
    found = command(settings, "check", "history/lead", "duplicates")
    assert found.exit_code == 1
    assert "FilesLostError: Table history/lead cannot be read: history/lead/processed_date=2026-03-30/" in found.output
    assert "run `crm-platform rebuild --from 2026-03-30`" in found.output


def test_landing_that_is_lost_is_not_rebuilt_but_named_with_its_rows_and_range_and_nothing_is_written(settings):
    lake = Lake(settings.lake_root)
    gone = lose(lake, "landing/changes/lead", MARCH_25)
    before = versions(lake)
    done = command(settings, "rebuild", "--from", str(MARCH_25))
    assert done.exit_code == 1
    assert "LandingLostError: Landing cannot be rebuilt: landing/changes/lead/processed_date=2026-03-25/" in done.output
    assert f"{gone} rows of landing/changes/lead are gone, of 2026-03-25, from the range after offset " in done.output
    assert "Put the files back from a backup of the lake, or run `crm-platform landing restore" in done.output
    assert versions(Lake(settings.lake_root)) == before


def test_lost_changes_are_read_from_the_feed_once_more_and_history_stays_what_it_was(settings):
    lake = Lake(settings.lake_root)
    whole = contents(lake, without=("_batch_id",))
    gone = lose(lake, "landing/changes/lead", MARCH_25)
    done = command(settings, "landing", "restore", "landing/changes/lead", "--by", "ann")
    assert done.exit_code == 0, done.output
    assert f"landing/changes/lead forgets 1 files of {gone} rows; {gone} rows were read again." in done.output
    lose(lake, "history/lead", MARCH_25)
    rebuilt = command(settings, "rebuild", "--from", str(MARCH_25), "--objects", "lead")
    assert rebuilt.exit_code == 0, rebuilt.output
    found = contents(Lake(settings.lake_root), without=("_batch_id",))
    assert {table: found[table] for table in whole if table != "audit/log"} == {
        table: content for table, content in whole.items() if table != "audit/log"
    }
    assert audit_log(lake).select("actor", "action", "subject").row(-1) == (
        "ann", "landing.restore", "landing/changes/lead",
    )  # fmt: skip
    again = command(settings, "landing", "restore", "landing/changes/lead")
    assert again.output.strip() == "landing/changes/lead has lost nothing."


def test_a_lost_snapshot_is_forgotten_and_exported_again_where_exports_are_dated(settings):
    lake = Lake(settings.lake_root)
    whole = contents(lake, without=("_batch_id",))
    lose(lake, "landing/snapshot/lead", MARCH_25)
    done = command(settings, "landing", "restore", "landing/snapshot/lead", "--by", "ann")
    assert done.exit_code == 0, done.output
    assert "Materialize landing/snapshot/lead for 2026-03-25." in done.output
    assert run_days(settings, MARCH_25, MARCH_25)
    found = contents(Lake(settings.lake_root), without=("_batch_id",))
    assert {table: found[table] for table in whole} == whole


def test_changes_that_are_given_up_leave_history_as_it_is_and_no_night_asks_to_rebuild_it(settings):
    lake = Lake(settings.lake_root)
    gone = lose(lake, "landing/changes/lead", MARCH_25)
    before = versions(lake)
    done = command(settings, "landing", "restore", "landing/changes/lead", "--give-up", "--by", "ann")
    assert done.exit_code == 0, done.output
    assert f"landing/changes/lead forgets 1 files of {gone} rows; 0 rows were read again." in done.output
    assert "What was built from them stands as long as nobody rebuilds 2026-03-25." in done.output
    after = versions(Lake(settings.lake_root))
    assert {table for table in after if after[table] != before.get(table)} == {"landing/changes/lead", "audit/log"}
    assert late_data(platform=Platform.from_settings(settings)).skip_message.startswith("Every day is what")
    assert audit_log(lake).select("actor", "action", "subject").row(-1) == (
        "ann", "landing.give_up", "landing/changes/lead",
    )  # fmt: skip


def test_what_is_derived_is_not_restored(settings):
    refused = command(settings, "landing", "restore", "history/lead")
    assert refused.exit_code == 1
    assert "history/lead holds nothing that landed: what is derived is rebuilt." in refused.output
