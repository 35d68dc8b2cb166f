"""A day that is not built is late by the system's clock, some hours after its end, and stays the same problem until it is."""

import datetime as dt
from pathlib import Path

import dagster as dg
import pytest

from crm_platform import sources
from crm_platform.defs.alerting import tick
from crm_platform.defs.assembly import build_defs
from crm_platform.defs.platform import Platform
from crm_platform.defs.settings import load_settings
from crm_platform.lake import hold

SANDBOX = Path(sources.__file__).parent / "manifests/sandbox.yaml"
FIRST = dt.date(2026, 3, 1)
QUIET = "Nothing new since the last tick."
ROOMS = ("landing/changes/", "history/", "features/")


class Clocked:
    """The sensor over the sandbox's tables, read by the system's clock, which the test holds in its hand."""

    def __init__(self, folder, instance, more=""):
        told = SANDBOX.read_text(encoding="utf-8")
        assert told.count("clock: head") == 1
        (folder / "crm.yaml").write_text(told.replace("clock: head", "clock: system"), encoding="utf-8")
        path = folder / "crm_platform.yaml"
        path.write_text(f"source: {folder / 'crm.yaml'}\nlake: lake\nfirst_day: {FIRST}\n{more}", encoding="utf-8")
        self.settings = load_settings(path)
        self.platform = Platform.from_settings(self.settings)
        self.defs = build_defs(self.settings)
        self.instance = instance
        graph = self.defs.resolve_asset_graph()
        self.keys = [
            key
            for key in sorted(graph.materializable_asset_keys)
            if key.to_user_string().startswith(ROOMS) and graph.get(key).partitions_def is not None
        ]

    def build(self, *days, but=()):
        """Materializes days of March in every table, but some."""
        for key in self.keys:
            for day in days:
                if key.to_user_string() not in but:
                    told = dg.AssetMaterialization(key, partition=f"2026-03-{day:02}")
                    self.instance.report_runless_asset_event(told)

    def tick(self, day, hour, minute=0):
        """What the sensor says at a moment of March."""
        resources = {"platform": self.defs.resources["platform"]}
        context = dg.build_sensor_context(instance=self.instance, definitions=self.defs, resources=resources)
        now = dt.datetime(2026, 3, day, hour, minute, tzinfo=dt.UTC)
        return tick(context, self.platform, self.settings.alerts, now=now, environment={}, runbook="RUNBOOK")


@pytest.fixture
def begin(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home), overrides={"telemetry": {"enabled": False}}) as instance:

        def clocked(more=""):
            ours = Clocked(tmp_path, instance, more)
            ours.build(1, 2)
            assert ours.tick(3, 5) == "From now on what goes wrong is told."
            return ours

        yield clocked


def test_a_day_is_late_six_hours_after_its_end_though_nothing_has_landed(begin):
    ours = begin()
    ours.build(3, but=("history/lead", "features/lead"))
    assert ours.tick(4, 5, 59) == QUIET
    assert ours.tick(4, 6) == (
        "partition_late: tables behind on 2026-03-03 (2 tables: features/lead, history/lead), since 2026-03-04 00:00 UTC. "
        "See RUNBOOK#partition_late. Then: dagster asset materialize -m crm_platform.definitions "
        "--select 'key:features/lead or key:history/lead' --partition 2026-03-03"
    )
    assert ours.tick(4, 7) == QUIET
    ours.build(3)
    assert ours.tick(4, 8).startswith("well again: partition_late: tables behind on 2026-03-03, open since ")


def test_hours_of_one_s_own_count(begin):
    ours = begin("alerts: {late_after_hours: 30}\n")
    assert ours.tick(5, 5, 59) == QUIET
    assert ours.tick(5, 6).startswith("partition_late: tables behind on 2026-03-03 ")


def test_while_days_go_by_it_is_one_problem_and_none_of_them_is_said_to_be_well(begin):
    ours = begin()
    assert ours.tick(4, 6).startswith("partition_late: tables behind on 2026-03-03 ")
    assert [ours.tick(day, 6) for day in (5, 6, 7)] == [QUIET] * 3
    ours.build(3)
    said = ours.tick(7, 7)
    assert said.startswith("partition_late: tables behind on 2026-03-04 ")
    assert (
        "--partition-range 2026-03-04...2026-03-06; well again: partition_late: tables behind on 2026-03-03, " in said
    )
    ours.build(4, 5, 6)
    assert ours.tick(7, 8).startswith("well again: partition_late: tables behind on 2026-03-04, open since ")


def test_a_red_day_that_holds_the_others_back_tells_nothing_of_lateness(begin):
    ours = begin()
    hold(ours.platform.lake(), "history/lead", dt.date(2026, 3, 2), "contract", "broken")
    assert ours.tick(4, 6) == QUIET


def test_after_the_last_day_of_the_settings_nothing_is_late(begin):
    ours = begin("last_day: 2026-03-02\n")
    assert ours.tick(9, 12) == QUIET
