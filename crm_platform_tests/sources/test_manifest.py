"""Manifests say what a CRM is; a broken one says where, what and how to mend it."""

import json
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from crm_platform.sources import Manifest, ManifestError, bundled_manifests, load_manifest

BUNDLED = Path(__file__).parents[2] / "crm_platform" / "sources" / "manifests"


@pytest.fixture
def broken(tmp_path):
    """Writes the sandbox's manifest with one thing changed."""

    def write(old: str, new: str) -> Path:
        text = (BUNDLED / "sandbox.yaml").read_text(encoding="utf-8")
        assert old in text
        file = tmp_path / "mine.yaml"
        file.write_text(text.replace(old, new, 1), encoding="utf-8")
        return file

    return write


def complaint(file: Path) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        load_manifest(file)
    assert str(file) in str(caught.value)
    return caught.value


def test_the_platform_brings_two_manifests():
    assert bundled_manifests() == ["bottlecrm", "sandbox"]
    assert load_manifest("sandbox").title == "The sandbox CRM"


def test_the_two_vendors_differ_in_their_manifests_alone():
    sandbox, bottlecrm = load_manifest("sandbox"), load_manifest("bottlecrm")
    assert sandbox.column_of("activity", "occurred_at") == "occurred_at"
    assert bottlecrm.column_of("activity", "occurred_at") == "created_at"
    assert bottlecrm.object_of("activity") == "task"
    assert sandbox.column_of("opportunity", "owner_id") == "owner_id"
    assert bottlecrm.column_of("opportunity", "owner_id") is None
    assert sandbox.objects["contact"].merges.style == "listed"
    assert sandbox.objects["contact"].merges.column == "merged_ids"
    assert bottlecrm.objects["contact"].merges.style == "transaction_pair"
    assert bottlecrm.training["lead_conversion"].horizon == timedelta(days=30)
    assert (sandbox.has_snapshots, sandbox.has_dated_exports, sandbox.channel) == (True, True, "feed")
    assert (bottlecrm.has_snapshots, bottlecrm.has_dated_exports, bottlecrm.channel) == (False, False, "log")


def test_the_columns_that_hold_ids_of_others_are_known_by_the_parts_they_play():
    assert load_manifest("sandbox").references_of("contact") == {"account_id", "owner_id"}
    assert load_manifest("sandbox").references_of("owner") == set()
    assert load_manifest("bottlecrm").references_of("task") == {"account_id", "lead_id", "opportunity_id"}


def test_a_manifest_may_lie_anywhere(broken):
    assert load_manifest(broken("title: The sandbox CRM", "title: Mine")).title == "Mine"


def test_a_name_that_nobody_bears_is_refused_with_those_there_are():
    with pytest.raises(ManifestError, match=r"no manifest 'hubspot'.*bottlecrm, sandbox"):
        load_manifest("hubspot")


def test_a_missing_entry_is_named_with_its_place(broken):
    error = complaint(broken("settling_lag: 0s\n", ""))
    assert error.place == "settling_lag"
    assert "is missing. Add `settling_lag:` there." in str(error)


def test_a_misspelt_entry_is_named_with_what_was_meant(broken):
    error = complaint(broken("    create_path:", "    create_pth:"))
    assert error.place == "transport.exports.create_pth"
    assert "Did you mean `create_path`?" in str(error)


def test_a_value_of_the_wrong_type_is_not_converted(broken):
    error = complaint(broken("    limit: 200", '    limit: "200"'))
    assert error.place == "transport.reads.limit"
    assert "valid integer" in str(error)


def test_a_duration_without_a_unit_is_refused(broken):
    error = complaint(broken("settling_lag: 0s", "settling_lag: 15"))
    assert error.place == "settling_lag"
    assert "such as 30d or 5m" in str(error)


def test_the_place_inside_a_list_counts_from_nought(broken):
    error = complaint(broken("{status: [401], action: unauthorized}", "{status: [401], action: shrug}"))
    assert error.place == "transport.errors.2.action"


def test_a_transport_that_does_not_exist_is_refused(broken):
    assert complaint(broken("kind: http", "kind: pigeon")).place == "transport"


def test_a_role_of_a_column_that_the_contract_lacks_is_refused_with_the_nearest(broken):
    error = complaint(broken("stage: stage", "stage: stagee"))
    assert error.place == "roles.opportunity.columns.stage"
    assert "Did you mean 'stage'?" in str(error)


def test_a_role_that_does_not_exist_is_refused(broken):
    error = complaint(broken("stage: stage", "phase: stage"))
    assert error.place == "roles.opportunity.columns.phase"
    assert "amount" in str(error)


def test_a_key_other_than_the_contracts_is_refused(broken):
    error = complaint(
        broken("owner: {table: owner, kind: owner, key: id", "owner: {table: owner, kind: owner, key: name")
    )
    assert error.place == "objects.owner.key"


def test_two_columns_that_would_be_one_are_refused(broken):
    file = broken(
        "owner: {table: owner, kind: owner, key: id",
        "owner: {table: owner, kind: owner, key: id, rename: {Area: region, Zone: region}",
    )
    error = complaint(file)
    assert error.place == "objects.owner.rename.Zone"
    assert "Area is called region already. Keep the one that the CRM fills." in str(error)


def test_contracts_that_cannot_be_found_are_named(broken):
    error = complaint(broken("crm_platform.contracts.sandbox", "crm_platform.contracts.nowhere"))
    assert error.place == "contracts"
    assert "no module crm_platform.contracts.nowhere" in str(error)


def test_a_training_of_an_object_without_a_role_is_refused(broken):
    file = broken("  lead_conversion: {object: lead, column: status", "  lead_conversion: {object: lead, column: state")
    assert complaint(file).place == "training.lead_conversion.column"


def test_a_file_that_is_no_yaml_is_named_with_its_line(broken):
    error = complaint(broken("title: The sandbox CRM", "title: 'The sandbox CRM"))
    assert "mine.yaml, line " in str(error)
    assert "Mend the YAML there." in str(error)


def test_several_faults_are_counted(broken):
    file = broken("settling_lag: 0s\nretention: null\n", "")
    file.write_text(file.read_text(encoding="utf-8").replace("clock: head", "clock: sundial"), encoding="utf-8")
    assert "(1 more place to mend after that.)" in str(complaint(file))


def test_the_json_schema_accepts_the_bundled_manifests_and_refuses_a_typo():
    schema = Manifest.model_json_schema()
    for name in bundled_manifests():
        jsonschema.validate(yaml.safe_load((BUNDLED / f"{name}.yaml").read_text(encoding="utf-8")), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x", "titel": "y"}, schema)


def test_a_manifest_survives_being_written_and_read():
    manifest = load_manifest("sandbox")
    assert Manifest.model_validate(json.loads(manifest.model_dump_json())) == manifest


def test_the_limit_of_inferred_deletes_is_the_larger_of_rows_and_share():
    limit = load_manifest("sandbox").inferred_delete_limit
    assert limit.allows(20, living=100)
    assert not limit.allows(21, living=100)
    assert limit.allows(50, living=1000)
    assert not limit.allows(51, living=1000)
