"""What the UI shows of a table before anything has run: owners, groups, code, columns and where they come from."""

import re
from pathlib import Path

import dagster_webserver
import pytest

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.settings import SettingsError, load_settings
from crm_platform_tests.pipeline import settings_in
from crm_platform_tests.webserver import Webserver

CHUNKS = Path(dagster_webserver.__file__).parent / "webapp/build/_next/static/chunks"
ROOT = Path(__file__).parents[2]
ASSET = """
query ($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      groupName description
      owners { ... on TeamAssetOwner { team } ... on UserAssetOwner { email } }
      metadataEntries {
        label
        ... on CodeReferencesMetadataEntry {
          codeReferences { ... on LocalFileCodeReference { filePath lineNumber label } ... on UrlCodeReference { url label } }
        }
        ... on MarkdownMetadataEntry { mdStr }
        ... on TableSchemaMetadataEntry { schema { columns { name type description tags { key value } } } }
        ... on TableColumnLineageMetadataEntry { lineage { columnName columnDeps { assetKey { path } columnName } } }
      }
    }
  }
}
"""


def nodes_with(folder, more):
    path = folder / "crm_platform.yaml"
    path.write_text(f"first_day: 2026-03-01\nlast_day: 2026-03-02\n{more}", encoding="utf-8")
    graph = build_defs(load_settings(path)).resolve_asset_graph()
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


def code_of(node):
    return node.metadata["dagster/code_references"].code_references


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visible")
    settings = settings_in(folder, "http://127.0.0.1:9", 3)
    with (settings.folder / "crm_platform.yaml").open("a", encoding="utf-8") as file:
        file.write("owners: ['team:crm-data', 'on-call@example.org']\n")
    with Webserver(settings) as running:
        yield running


def shown(server, table):
    node = server.ask(ASSET, key={"path": table.split("/")})["assetNodeOrError"]
    return node, {entry["label"]: entry for entry in node["metadataEntries"]}


def test_the_ui_shows_the_owners_of_the_settings_and_the_group_in_the_flow(server):
    for table, group in (
        ("landing/changes/lead", "landing"),
        ("current/lead", "history"),
        ("features/lead", "features"),
        ("training/lead_conversion", "training"),
        ("maintenance", "upkeep"),
    ):
        node, _ = shown(server, table)
        assert node["groupName"] == group, table
        assert node["owners"] == [{"team": "crm-data"}, {"email": "on-call@example.org"}], table


def test_the_ui_follows_a_feature_column_by_column_to_the_field_it_goes_back_to(server):
    _, training = shown(server, "training/lead_conversion")
    table, column = source_of(training, "lead__status_since")
    assert (table, column) == ("features/lead", "status_since")
    _, timeline = shown(server, table)
    table, column = source_of(timeline, column)
    assert (table, column) == ("history/lead", "status")
    _, history = shown(server, table)
    assert source_of(history, column) == ("landing/changes/lead", "status")
    _, landed = shown(server, "landing/changes/lead")
    assert described(landed, "status") == ("How far they have come.", [])


def test_the_ui_shows_what_a_column_is_made_of_as_a_table_for_it_draws_no_lineage_of_columns(server):
    _, timeline = shown(server, "features/lead")
    lines = timeline["columns_made_of"]["mdStr"].splitlines()
    assert lines[:2] == ["| column | made of |", "| --- | --- |"]
    assert "| `count_7d` | `history/activity.lead_id`, `history/activity.occurred_at` |" in lines
    assert len(lines) == 2 + 37


def test_the_open_source_ui_still_draws_no_lineage_of_columns_and_lets_markdown_show_images_that_it_carries():
    """Dagster 1.13: once the first fails, `columns_made_of` may go; once the second does, every picture has."""
    script = "".join(file.read_text(encoding="utf-8") for file in CHUNKS.rglob("*.js"))
    assert script.count("AssetColumnLinksCell:()=>void 0") == 2
    assert re.search(r'src:\[\.\.\..{0,80}"data"\]', script)


def test_the_open_source_ui_still_executes_no_check_by_days_on_its_own():
    """Dagster 1.13: once this fails, the runbook need not say why Execute is grey."""
    script = "".join(file.read_text(encoding="utf-8") for file in CHUNKS.rglob("*.js"))
    assert "Executing checks on their own for partitioned assets is not yet supported" in script


def source_of(entries, column):
    """The first source of a column, as the UI has it."""
    deps = {one["columnName"]: one["columnDeps"] for one in entries["dagster/column_lineage"]["lineage"]}
    return "/".join(deps[column][0]["assetKey"]["path"]), deps[column][0]["columnName"]


def described(entries, column):
    columns = {one["name"]: one for one in entries["dagster/column_schema"]["schema"]["columns"]}
    return columns[column]["description"], columns[column]["tags"]


def test_the_ui_shows_what_a_column_means_its_personal_data_and_the_fields_behind_a_feature(server):
    _, history = shown(server, "history/lead")
    assert described(history, "email")[1] == [{"key": "pii", "value": "email"}]
    _, timeline = shown(server, "features/lead")
    means, _ = described(timeline, "channel_distinct_30d")
    assert means == (
        "How many different values of channel the activities of the last 30d have. "
        "From activity.channel, activity.lead_id, activity.occurred_at."
    )


def test_the_ui_links_every_table_to_its_contract_and_its_build_in_the_files_of_this_machine(server):
    _, history = shown(server, "history/lead")
    found = {one["label"]: one for one in history["dagster/code_references"]["codeReferences"]}
    assert set(found) == {"Lead", "build_history"}
    for label, one in found.items():
        lines = Path(one["filePath"]).read_text(encoding="utf-8").splitlines()
        assert lines[one["lineNumber"] - 1].startswith((f"class {label}", f"def {label}"))


def test_every_table_links_to_code_that_is_there(tmp_path):
    for key, node in nodes_with(tmp_path, "").items():
        assert code_of(node), key
        for one in code_of(node):
            assert Path(one.file_path).is_relative_to(ROOT / "crm_platform"), key


def test_code_is_linked_to_its_host_where_the_settings_name_one(tmp_path):
    nodes = nodes_with(tmp_path, "code: {url: 'https://git.example.org/crm', branch: stable, platform: gitlab}\n")
    (line,) = (one.url for one in code_of(nodes["maintenance"]))
    assert line.startswith("https://git.example.org/crm/-/tree/stable/crm_platform/lake/maintenance.py#L")


@pytest.mark.parametrize("owner", ["data-platform", "team:", "someone@"])
def test_an_owner_that_dagster_would_refuse_is_refused_by_name(tmp_path, owner):
    with pytest.raises(SettingsError, match=r"owners\.0"):
        nodes_with(tmp_path, f"owners: ['{owner}']\n")


def test_an_owner_that_the_settings_take_is_taken_by_dagster(tmp_path):
    nodes = nodes_with(tmp_path, "owners: ['team:crm-data_2', 'a.b@example.org']\n")
    assert all(list(node.owners) == ["team:crm-data_2", "a.b@example.org"] for node in nodes.values())
