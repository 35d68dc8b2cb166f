"""The alerts of the whole graph over a small sandbox: failing checks by day, late days, and what a quiet tick costs."""

import dagster as dg
import pytest

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.jobs import INCREMENT
from crm_platform.defs.sandboxed import dagster_home
from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in

RENAMED = {"schema_change": {"object": "owner", "day": FIRST, "rename": {"region": "territory"}}}
QUIET = "Nothing new since the last tick."


@pytest.fixture
def told(tmp_path):
    """Ticks of the sensor, over settings whose sandbox is there."""

    def begin(base_url):
        settings = settings_in(tmp_path, base_url, 2)
        dagster_home(settings)
        defs = build_defs(settings)
        sensor = next(one for one in defs.sensors if one.name == "alerts")

        def ticked():
            with dg.DagsterInstance.get() as instance:
                context = dg.build_sensor_context(
                    instance=instance, definitions=defs, resources={"platform": defs.resources["platform"]}
                )
                return sensor(context).skip_message

        return settings, ticked

    return begin


def test_a_check_that_fails_in_a_run_is_told_once_with_its_days(tmp_path, told):
    with sandbox_at(tmp_path / "sandbox", days=2, accounts=10, faults=RENAMED) as base_url:
        settings, ticked = told(base_url)
        assert ticked() == "From now on what goes wrong is told."
        run_days(settings, FIRST, settings.last_day)
    said = ticked().split("; ")
    assert [line.split(" (")[0] for line in said if line.startswith("check_failed")] == [
        "check_failed: gate/red nothing_red",
        "check_failed: landing/changes/owner quarantine on 2026-03-01",
        "check_failed: landing/snapshot/owner schema_drift on 2026-03-01, 2026-03-02",
    ]
    assert ticked() == QUIET


def test_a_day_that_should_be_built_and_is_not_is_late_until_it_is(tmp_path, told):
    with sandbox_at(tmp_path / "sandbox", days=2, accounts=10) as base_url:
        settings, ticked = told(base_url)
        ticked()
        assert run_days(settings, FIRST, settings.last_day, job=INCREMENT)
        assert ticked() == QUIET
        with dg.DagsterInstance.get() as instance:
            instance.wipe_assets([dg.AssetKey(["history", "lead"])])
        assert ticked() == (
            "partition_late: tables behind on 2026-03-01 (1 tables: history/lead), since 2026-03-02 00:00 UTC. "
            "See docs/runbook.md#partition_late. Then: dagster asset materialize -m crm_platform.definitions "
            "--select 'key:history/lead' --partition-range 2026-03-01...2026-03-02"
        )
        assert {ticked() for _ in range(5)} == {QUIET}
        assert run_days(settings, FIRST, settings.last_day, job=INCREMENT)
    assert ticked().startswith("well again: partition_late: tables behind on 2026-03-01, open since ")
