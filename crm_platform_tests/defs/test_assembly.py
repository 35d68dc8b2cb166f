"""What the code location holds: every asset, check, job, sensor and schedule, loaded without network or environment."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.settings import load_settings

ROOT = Path(__file__).parents[2]
AGREED = Path(__file__).with_name("assets.yaml")
OBJECTS = ("account", "activity", "contact", "lead", "opportunity", "owner")
VIEWS = ("account", "contact", "lead", "opportunity")


def nodes_of(repository):
    graph = repository.asset_graph
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


def told_of(specs):
    """What Dagster shows of every asset, in plain words."""
    return {key: told(node) for key, node in sorted(specs.items())}


def told(node):
    schema, lineage = (node.metadata.get(f"dagster/column_{what}") for what in ("schema", "lineage"))
    sources = {} if lineage is None else lineage.deps_by_column
    return {
        "group": node.group_name,
        "owners": list(node.owners),
        "kinds": sorted(node.kinds),
        "parents": sorted(parent.to_user_string() for parent in node.parent_keys),
        "days": [] if node.partitions_def is None else span(node.partitions_def.get_partition_keys()),
        "one_run": node.backfill_policy == dg.BackfillPolicy.single_run(),
        "columns": [] if schema is None else [line(column, sources.get(column.name, [])) for column in schema.columns],
    }


def span(days):
    return [days[0], days[-1], len(days)]


def line(column, sources):
    pii = f" [{column.tags['pii']}]" if column.tags else ""
    read = ", ".join(f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in sources)
    return f"{column.name}: {column.type}{pii}" + (f" <- {read}" if read else "")


def loaded():
    return build_defs(load_settings(ROOT / "crm_platform.yaml")).get_repository_def()


@pytest.fixture(scope="module")
def repository():
    return loaded()


@pytest.fixture(scope="module")
def specs(repository):
    return nodes_of(repository)


def test_every_table_has_its_asset_in_its_group(specs):
    expected = {f"landing/changes/{name}": "landing" for name in OBJECTS}
    expected |= {f"landing/snapshot/{name}": "landing" for name in OBJECTS}
    expected |= {f"history/{name}": "history" for name in (*OBJECTS, "merges")}
    expected |= {f"current/{name}": "history" for name in OBJECTS}
    expected |= {f"features/{name}": "features" for name in VIEWS}
    expected |= {"training/lead_conversion": "training", "maintenance": "upkeep", "gate/red": "gate"}
    assert {key: node.group_name for key, node in specs.items()} == expected


def test_assets_written_by_window_run_as_one_run_over_daily_partitions(specs):
    by_window = {key for key, node in specs.items() if node.partitions_def is not None}
    assert by_window == {key for key in specs if not key.startswith(("current", "training", "maintenance", "gate"))}
    for key in by_window:
        assert specs[key].backfill_policy == dg.BackfillPolicy.single_run(), key
        assert len(specs[key].partitions_def.get_partition_keys()) == 60, key


def test_everything_has_an_owner_a_description_and_its_kinds(specs):
    for key, node in specs.items():
        assert node.owners == ["team:data-platform"], key
        assert len(node.description) > 20, key
        assert "delta" in node.kinds or "parquet" in node.kinds, key


def test_history_depends_on_what_landed_and_on_its_own_yesterday(specs):
    parents = {key.to_user_string() for key in specs["history/lead"].parent_keys}
    assert parents == {"landing/changes/lead", "landing/snapshot/lead", "history/lead"}


def test_features_depend_on_histories_merges_and_their_own_yesterday(specs):
    parents = {key.to_user_string() for key in specs["features/lead"].parent_keys}
    assert parents == {"history/lead", "history/activity", "history/merges", "features/lead"}


def test_every_asset_is_as_it_was_agreed(specs):
    """After a wanted change: `python crm_platform_tests/defs/test_assembly.py` writes the file anew; read its diff."""
    assert told_of(specs) == yaml.safe_load(AGREED.read_text(encoding="utf-8"))


def test_every_column_has_a_type_and_a_meaning_and_personal_ones_their_class(specs):
    for key, node in specs.items():
        if key not in {"maintenance", "gate/red"}:
            for column in node.metadata["dagster/column_schema"].columns:
                assert column.type, (key, column.name)
                assert column.description, (key, column.name)
    columns = {column.name: column for column in specs["history/lead"].metadata["dagster/column_schema"].columns}
    assert columns["email"].tags == {"pii": "email"}
    assert columns["status"].description == "How far they have come."


def test_every_column_that_is_made_of_others_says_of_which_and_they_exist(specs):
    known = {
        key: {column.name for column in node.metadata["dagster/column_schema"].columns}
        for key, node in specs.items()
        if key not in {"maintenance", "gate/red"}
    }
    for key, columns in known.items():
        if key.startswith("landing/"):
            continue
        sources = specs[key].metadata["dagster/column_lineage"].deps_by_column
        parents = {parent.to_user_string() for parent in specs[key].parent_keys}
        assert columns - set(sources) <= {"as_of", "object"}, key
        for column, deps in sources.items():
            assert column in columns, (key, column)
            for dep in deps:
                assert dep.asset_key.to_user_string() in parents, (key, column)
                assert dep.column_name in known[dep.asset_key.to_user_string()], (key, column, dep)


def test_every_check_has_a_section_in_the_runbook(repository):
    sections = set(re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(encoding="utf-8"), re.MULTILINE))
    names = {key.name for key in repository.asset_graph.asset_check_keys}
    assert names - sections == set()
    assert len(names) == 21


def test_what_the_ui_says_about_a_check_ends_with_its_section_of_the_configured_runbook(tmp_path):
    settings = tmp_path / "crm_platform.yaml"
    settings.write_text("first_day: 2026-03-01\nrunbook: https://wiki.example.com/runbook\n", encoding="utf-8")
    graph = build_defs(load_settings(settings)).get_repository_def().asset_graph
    for key in graph.asset_check_keys:
        assert graph.get(key).description.endswith(f". Runbook: https://wiki.example.com/runbook#{key.name}"), key


def test_the_leakage_checks_and_those_of_history_hold_later_data_back(repository):
    checks = {key: repository.asset_graph.get(key) for key in repository.asset_graph.asset_check_keys}
    blocking = {key.name for key, node in checks.items() if node.blocking}
    assert blocking == {
        "contract", "duplicates", "label_windows", "leakage", "leakage_planted", "leakage_recomputed",
        "leakage_truncation", "leakage_whole_past", "offset_gaps", "perfect_predictors", "reconciliation",
        "schema_drift",
    }  # fmt: skip


def test_jobs_sensors_and_schedules_are_there(repository):
    names = {job.name for job in repository.get_all_jobs()}
    assert {"everything", "increment", "rebuild", "nightly_snapshots", "whats_red", "rebuild_window_asked"} <= names
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "new_changes",
        "alerts",
        "gate_changed",
        "mended_days",
        "default_automation_condition_sensor",
    }
    assert {schedule.name for schedule in repository.schedule_defs} == {
        "nightly_snapshots",
        "late_data",
        "monthly_leakage",
    }


def test_no_build_waits_for_the_check_that_reads_the_whole_past_and_every_build_plants_its_leak(repository):
    def asked(job, check):
        return sorted(node.name for node in repository.get_job(job).nodes if node.name.endswith(check))

    views = ("account", "contact", "lead", "opportunity")
    for job in ("everything", "increment", "rebuild", "nightly_snapshots"):
        assert asked(job, "leakage_whole_past") == [], job
        assert asked(job, "leakage_planted") == [f"features__{view}_leakage_planted" for view in views], job
        assert asked(job, "leakage_truncation") == [f"features__{view}_leakage_truncation" for view in views], job
    steps = [f"features__{view}_leakage_whole_past" for view in views]
    assert sorted(node.name for node in repository.get_job("leakage_whole_past").nodes) == steps


def test_definitions_load_with_an_empty_environment_and_no_network(tmp_path):
    code = (
        "import socket\n"
        "def refuse(*_, **__): raise OSError('no network here')\n"
        "socket.socket.connect = socket.create_connection = refuse\n"
        "import crm_platform.definitions as d\n"
        "print(len(d.defs.resolve_asset_graph().get_all_asset_keys()))\n"
    )
    (tmp_path / "crm_platform.yaml").write_text((ROOT / "crm_platform.yaml").read_text())
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(6 * 4 + 1 + 4 + 3)
    assert list(tmp_path.iterdir()) == [tmp_path / "crm_platform.yaml"]


def test_a_recorded_log_has_no_snapshots_and_its_views_say_what_they_leave_out(tmp_path):
    log = ROOT / "data/samples/bottlecrm/events.jsonl.gz"
    path = tmp_path / "crm_platform.yaml"
    path.write_text(
        f"source: bottlecrm\nlake: lake\nfirst_day: 2026-01-05\nlast_day: 2026-05-04\nconnection: {{log: '{log}'}}\n"
    )
    graph = build_defs(load_settings(path)).resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert not any(key.startswith("landing/snapshot") for key in keys)
    assert {"features/account", "features/lead", "features/opportunity", "training/lead_conversion"} <= keys
    checks = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    assert {("history/lead", "value_drift"), ("landing/changes/lead", "volume")} <= checks
    assert "duration_minutes" in graph.get(dg.AssetKey(["features", "lead"])).description


if __name__ == "__main__":
    AGREED.write_text(yaml.safe_dump(told_of(nodes_of(loaded())), sort_keys=False, width=200), encoding="utf-8")
