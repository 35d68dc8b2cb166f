"""Where every column comes from, against answers written by hand for one view of each CRM."""

import pytest

from crm_platform.contracts import contracts_in
from crm_platform.features.lineage import column_sources, fields, origins, with_fields
from crm_platform.sources import load_manifest


@pytest.fixture(scope="module")
def sandbox():
    manifest = load_manifest("sandbox")
    return manifest, column_sources(manifest, contracts_in(manifest.contracts))


@pytest.fixture(scope="module")
def bottlecrm():
    manifest = load_manifest("bottlecrm")
    return manifest, column_sources(manifest, contracts_in(manifest.contracts))


LEAD_TIMES = (
    ("history/lead", "event_time"),
    ("history/lead", "processed_time"),
    ("history/activity", "event_time"),
    ("history/activity", "processed_time"),
    ("history/merges", "event_time"),
    ("history/merges", "processed_time"),
)
OF_LEAD = (("history/activity", "lead_id"), ("history/activity", "occurred_at"))
OF_TASK = (("history/task", "opportunity_id"), ("history/task", "created_at"))


def test_the_sandboxs_lead_timeline_is_made_of_leads_activities_and_merges(sandbox):
    _, sources = sandbox
    lead = sources["features/lead"]
    assert lead["entity_id"] == (
        ("history/lead", "entity_id"),
        ("history/merges", "loser_id"),
        ("history/merges", "winner_id"),
        ("history/activity", "lead_id"),
    )
    assert lead["known_at"] == lead["changed_at"] == lead["known_date"] == LEAD_TIMES
    assert lead["is_deleted"] == (("history/lead", "is_tombstone"), ("history/merges", "winner_id"))
    assert lead["status"] == lead["status_since"] == (("history/lead", "status"),)
    assert lead["count_7d"] == lead["last_at"] == OF_LEAD
    assert lead["amount_eur_sum_30d"] == (*OF_LEAD, ("history/activity", "amount"), ("history/activity", "currency"))
    assert lead["channel_distinct_90d"] == lead["channel_last"] == (*OF_LEAD, ("history/activity", "channel"))
    assert len(lead) == 37


def test_bottlecrms_opportunity_timeline_counts_its_tasks(bottlecrm):
    _, sources = bottlecrm
    opportunity = sources["features/opportunity"]
    assert opportunity["entity_id"][-1] == ("history/task", "opportunity_id")
    assert opportunity["stage"] == opportunity["stage_since"] == (("history/opportunity", "stage"),)
    assert opportunity["count_30d"] == OF_TASK
    assert opportunity["priority_last"] == (*OF_TASK, ("history/task", "priority"))
    assert "channel_last" not in opportunity


def test_a_version_is_made_of_changes_and_exports_where_there_are_any(sandbox, bottlecrm):
    _, sources = sandbox
    assert sources["history/lead"]["email"] == (("landing/changes/lead", "email"), ("landing/snapshot/lead", "email"))
    assert sources["history/lead"]["processed_time"] == (
        ("landing/changes/lead", "processed_time"),
        ("landing/snapshot/lead", "finished_at"),
    )
    assert sources["history/lead"]["operation"] == (("landing/changes/lead", "operation"),)
    _, of_a_log = bottlecrm
    assert of_a_log["history/lead"]["email"] == (("landing/changes/lead", "email"),)


def test_a_training_set_reads_its_timeline_under_a_prefix_and_its_label_from_history(sandbox):
    _, sources = sandbox
    training = sources["training/lead_conversion"]
    assert training["lead__count_7d"] == (("features/lead", "count_7d"),)
    assert training["lead__status_days"] == (("features/lead", "status_since"),)
    assert training["lead__recency"] == (("features/lead", "last_at"),)
    assert training["label"] == (
        ("history/lead", "status"),
        ("history/lead", "event_time"),
        ("history/lead", "processed_time"),
    )
    assert "as_of" not in training


def test_a_feature_goes_back_to_what_landed_over_every_table_between(sandbox):
    _, sources = sandbox
    assert origins(sources, "training/lead_conversion", "lead__channel_last") == [
        ("landing/changes/activity", "channel"),
        ("landing/changes/activity", "lead_id"),
        ("landing/changes/activity", "occurred_at"),
        ("landing/snapshot/activity", "channel"),
        ("landing/snapshot/activity", "lead_id"),
        ("landing/snapshot/activity", "occurred_at"),
    ]
    assert origins(sources, "training/lead_conversion", "as_of") == []


def test_fields_are_those_of_the_crm_under_its_own_names(sandbox):
    manifest, sources = sandbox
    lead = manifest.objects["lead"].model_copy(update={"rename": {"origin": "source"}})
    renamed = manifest.model_copy(update={"objects": {**manifest.objects, "lead": lead}})
    assert fields(renamed, sources, "features/lead", "source") == ["lead.origin"]
    assert fields(manifest, sources, "features/lead", "source") == ["lead.source"]
    assert fields(manifest, sources, "training/lead_conversion", "label") == ["lead.modified_at", "lead.status"]
    assert fields(manifest, sources, "history/lead", "_batch_id") == []
    assert fields(manifest, sources, "history/lead", "entity_id") == ["lead.id"]


def test_what_a_feature_means_ends_with_its_fields_and_a_steps_own_columns_stay_as_they_are(sandbox):
    manifest, sources = sandbox
    meaning = {"lead__count_7d": "How many.", "lead__is_deleted": "Dead.", "as_of": "When."}
    assert with_fields(meaning, manifest, sources, "training/lead_conversion") == {
        "lead__count_7d": "How many. From activity.lead_id, activity.occurred_at.",
        "lead__is_deleted": "Dead.",
        "as_of": "When.",
    }
