"""What asks by itself asks a bounded number of times, however often things fail."""

import datetime as dt

import dagster as dg
import pytest

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.days import ONCE_A_NIGHT
from crm_platform_tests.pipeline import settings_in

NIGHTS = 10
TICK = dt.timedelta(minutes=30)


def requested(times, *, fails, updates):
    """How often a table is requested over some ticks, its source updated at some of them."""

    @dg.asset
    def source(): ...

    @dg.asset(deps=[source], automation_condition=ONCE_A_NIGHT)
    def table():
        if fails:
            raise ValueError

    defs = dg.Definitions([source, table])
    asked, cursor = [], None
    with dg.DagsterInstance.ephemeral() as instance:
        for moment in times:
            if updates(moment):
                instance.report_runless_asset_event(dg.AssetMaterialization("source"))
            found = dg.evaluate_automation_conditions(defs, instance, cursor=cursor, evaluation_time=moment)
            cursor = found.cursor
            if found.total_requested:
                asked.append(moment)
                dg.materialize([source, table], selection=[table], instance=instance, raise_on_error=False)
    return asked


def ticks():
    start = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    return [start + number * TICK for number in range(NIGHTS * 48)]


@pytest.mark.parametrize("fails", [True, False])
def test_a_table_is_requested_once_a_night_however_often_its_source_changes_and_whether_or_not_it_fails(fails):
    asked = requested(ticks(), fails=fails, updates=lambda _: True)
    assert [moment.time() for moment in asked] == [dt.time(1)] * NIGHTS


def test_a_table_whose_source_stands_still_is_requested_no_more():
    asked = requested(ticks(), fails=True, updates=lambda moment: moment.date() == dt.date(2026, 3, 2))
    assert [moment.date() for moment in asked] == [dt.date(2026, 3, 2), dt.date(2026, 3, 3)]


def test_training_sets_and_upkeep_are_due_by_it_and_nothing_else_is(tmp_path):
    graph = build_defs(settings_in(tmp_path, "http://127.0.0.1:9", 2)).resolve_asset_graph()
    due = {
        key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).automation_condition is not None
    }
    assert due == {"training/lead_conversion", "maintenance"}
