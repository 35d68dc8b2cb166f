"""What a failed check carries, that its command looks again, and that mended days go on by themselves."""

import datetime as dt
import re

import dagster as dg
import pytest
from click.testing import CliRunner

from crm_platform.cli import main
from crm_platform.defs.assembly import build_defs
from crm_platform.defs.gate import gate_changed, mended_days
from crm_platform.defs.jobs import REBUILD
from crm_platform.defs.platform import Platform
from crm_platform.defs.sandboxed import dagster_home
from crm_platform.defs.settings import load_settings
from crm_platform.lake import Lake, red_partitions
from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in

DAYS = 4
RED = dt.date(2026, 3, 3)
RENAMED = {"schema_change": {"object": "owner", "day": RED, "rename": {"region": "territory"}}}
NAIVE = {"naive_timestamps": {"object": "activity", "day": RED}}
WEB = "https://wiki.example.com/runbook"


def evaluations(of):
    """The newest run's evaluations of a check, by partition."""
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs(limit=1)
        events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    said = [event.get_dagster_event().asset_check_evaluation_data for event in events]
    return {one.partition: one for one in said if (one.asset_key.to_user_string(), one.check_name) == of}


def values(evaluation):
    return {name: value.value for name, value in evaluation.metadata.items()}


def ran(folder, faults):
    """Settings of a lake after one run over all days of a sandbox with some faults."""
    with sandbox_at(folder / "sandbox", days=DAYS, accounts=20, faults=faults) as base_url:
        settings = settings_in(folder, base_url, DAYS)
        path = settings.folder / "crm_platform.yaml"
        path.write_text(path.read_text(encoding="utf-8") + f"runbook: {WEB}\n", encoding="utf-8")
        settings = load_settings(path)
        assert run_days(settings, FIRST, settings.last_day)
    return settings


@pytest.fixture(scope="module")
def ran_once(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("checks"), RENAMED | NAIVE)


@pytest.fixture
def drifted(ran_once):
    """A lake whose owners' and activities' exports are other ones from the third day on."""
    dagster_home(ran_once)
    return ran_once


@pytest.fixture
def renamed(tmp_path):
    """A lake of whose tables one export alone is red, from the third day on."""
    return ran(tmp_path, RENAMED)


def command(settings, *words):
    return CliRunner().invoke(main, [*words, "--config", str(settings.folder / "crm_platform.yaml")])


def tick(sensor, settings, cursor):
    """What a sensor answers, and its cursor afterwards."""
    defs = build_defs(settings)
    with dg.DagsterInstance.get() as instance:
        context = dg.build_sensor_context(
            instance=instance,
            cursor=cursor,
            repository_def=defs.get_repository_def(),
            resources={"platform": Platform.from_settings(settings)},
        )
        return sensor(context), context.cursor


def test_a_failed_day_says_what_where_how_many_since_when_and_what_to_run(drifted):
    found = evaluations(("landing/snapshot/owner", "schema_drift"))
    told = values(found[RED.isoformat()])
    assert told["partition"] == "2026-03-03"
    assert told["failing_rows"] > 0
    assert told["rule"].startswith("The export has the contract's columns")
    assert told["runbook"] == f"{WEB}#schema_drift"
    assert told["run_again"] == "crm-platform check landing/snapshot/owner schema_drift --from 2026-03-03"
    assert "territory" in told["examples"]
    since = [
        one.since
        for one in red_partitions(Lake(drifted.lake_root))
        if (one.asset, one.day) == ("landing/snapshot/owner", RED)
    ]
    assert told["first_seen"] == pytest.approx(since[0].timestamp(), abs=1)
    whole = values(found[None])
    assert whole["run_again"].endswith("schema_drift --from 2026-03-03 --to 2026-03-04")
    assert whole["held_back"] == "what is built from it waits from 2026-03-03 on, until that day is well"
    assert "first_seen" not in values(found["2026-03-01"])


def test_what_failed_before_keeps_the_moment_at_which_it_was_first_seen(drifted):
    first = values(evaluations(("landing/changes/activity", "quarantine"))[None])["first_seen"]
    again = command(drifted, "check", "landing/changes/activity", "quarantine")
    assert again.exit_code == 1, again.output
    assert "run again: crm-platform check landing/changes/activity quarantine" in again.output
    assert values(evaluations(("landing/changes/activity", "quarantine"))[None])["first_seen"] == pytest.approx(
        first, abs=1
    )


def test_nobodys_address_reaches_an_event(drifted):
    lake = Lake(drifted.lake_root)
    people = [lake.scan(f"history/{name}").select("email").collect()["email"] for name in ("lead", "contact")]
    addresses = {one for column in people for one in column.drop_nulls()}
    assert len(addresses) > 20
    with dg.DagsterInstance.get() as instance:
        (run,) = instance.get_runs(limit=1)
        told = "\n".join(f"{event.message} {event.dagster_event}" for event in instance.all_logs(run.run_id))
    assert "quarantine" in told
    assert not [one for one in addresses if one in told]
    assert not re.findall(r"[\w.]+@[\w.]+\.\w+", told)


def test_the_printed_command_looks_again_and_after_the_mending_the_days_that_waited_are_requested_once(
    renamed,
):
    red = command(renamed, "check", "gate/red", "nothing_red")
    assert red.exit_code == 1, red.output
    assert "2 partitions are red by 1 checks, first landing/snapshot/owner on 2026-03-03 by schema_drift" in red.output
    answer, cursor = tick(mended_days, renamed, None)
    assert isinstance(answer, dg.SkipReason)
    again = command(renamed, "check", "landing/snapshot/owner", "schema_drift", "--from", "2026-03-03")
    assert again.exit_code == 1, again.output
    assert isinstance(tick(mended_days, renamed, cursor)[0], dg.SkipReason)
    for day in ("2026-03-03", "2026-03-04"):
        assert command(renamed, "snapshot", "skip", day, "--object", "owner", "--by", "me").exit_code == 0
    well = command(
        renamed, "check", "landing/snapshot/owner", "schema_drift", "--from", "2026-03-03", "--to", "2026-03-04"
    )
    assert well.exit_code == 0, well.output
    assert red_partitions(Lake(renamed.lake_root)) == []
    request, cursor = tick(mended_days, renamed, cursor)
    assert request.tags["dagster/asset_partition_range_start"] == "2026-03-03"
    assert request.tags["dagster/asset_partition_range_end"] == "2026-03-04"
    assert isinstance(tick(mended_days, renamed, cursor)[0], dg.SkipReason)
    assert run_days(renamed, RED, RED + dt.timedelta(days=1), job=REBUILD)
    with dg.DagsterInstance.get() as instance:
        assert len(instance.get_materialized_partitions(dg.AssetKey(["features", "account"]))) == DAYS
    assert command(renamed, "check", "gate/red").exit_code == 0


def test_the_gates_page_is_asked_for_once_per_change(drifted):
    request, cursor = tick(gate_changed, drifted, None)
    assert isinstance(request, dg.RunRequest)
    assert isinstance(tick(gate_changed, drifted, cursor)[0], dg.SkipReason)


def test_a_table_or_check_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    settings = settings_in(tmp_path, "http://127.0.0.1:9", 2)
    dagster_home(settings)
    unknown = command(settings, "check", "history/lead", "contracts")
    assert unknown.exit_code == 1
    assert (
        "history/lead has no check contracts: it has contract, duplicates, missing_days, parity, reconciliation."
        in unknown.output
    )
    nowhere = command(settings, "check", "history/leads")
    assert "history/leads has no check: nor any other; `crm-platform summary` lists the tables." in nowhere.output
