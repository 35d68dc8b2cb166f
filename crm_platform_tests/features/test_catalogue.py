from dataclasses import replace

import pytest

from crm_platform.contracts import contracts_in
from crm_platform.features.catalogue import (
    ACTIVITY_FEATURES,
    CATALOGUE,
    CatalogueError,
    DeclaredView,
    bind,
    views_for,
)
from crm_platform.features.views import Attribute, Count, Sum
from crm_platform.sources import load_manifest


@pytest.fixture(scope="module")
def sandbox():
    return load_manifest("sandbox"), contracts_in("crm_platform.contracts.sandbox")


@pytest.fixture(scope="module")
def bottlecrm():
    return load_manifest("bottlecrm"), contracts_in("crm_platform.contracts.bottlecrm")


def with_roles(manifest, canonical, **changes):
    roles = dict(manifest.roles)
    roles[canonical] = roles[canonical].model_copy(update=changes)
    return manifest.model_copy(update={"roles": roles})


def without_part(manifest, canonical, part):
    columns = {name: column for name, column in manifest.roles[canonical].columns.items() if name != part}
    return with_roles(manifest, canonical, columns=columns)


def test_there_is_one_view_per_canonical_object(sandbox, bottlecrm):
    assert list(views_for(*sandbox)) == ["account", "contact", "lead", "opportunity"]
    assert list(views_for(*bottlecrm)) == ["account", "contact", "lead", "opportunity"]


def test_the_sandboxs_opportunity_carries_its_attributes_and_its_activities(sandbox):
    view = views_for(*sandbox)["opportunity"]
    assert (view.entity, view.activity) == ("opportunity", "activity")
    assert (view.view.entity, view.view.key, view.view.time) == ("opportunity", "opportunity_id", "occurred_at")
    assert view.features == [
        "stage", "stage_since", "amount", "currency", "probability", "close_date", "account_id", "owner_id",
        "owner_id_since",
        "count_7d", "count_30d", "count_90d",
        "duration_minutes_sum_7d", "duration_minutes_sum_30d", "duration_minutes_sum_90d",
        "amount_eur_sum_7d", "amount_usd_sum_7d", "amount_gbp_sum_7d",
        "amount_eur_sum_30d", "amount_usd_sum_30d", "amount_gbp_sum_30d",
        "amount_eur_sum_90d", "amount_usd_sum_90d", "amount_gbp_sum_90d",
        "channel_distinct_7d", "channel_distinct_30d", "channel_distinct_90d",
        "owner_id_distinct_7d", "owner_id_distinct_30d", "owner_id_distinct_90d",
        "kind_first", "kind_last", "channel_last", "outcome_last", "last_at",
    ]  # fmt: skip


def test_a_part_that_the_crm_lacks_is_left_out_and_the_view_says_why(sandbox):
    left_out = views_for(*sandbox)["opportunity"].left_out
    assert left_out["source"] == "the manifest sandbox gives opportunity.source to no column"
    assert left_out["priority_distinct_30d"] == "the manifest sandbox gives activity.priority to no column"
    assert sorted(left_out) == [
        "priority_distinct_30d", "priority_distinct_7d", "priority_distinct_90d", "priority_first", "priority_last",
        "source", "status_last",
    ]  # fmt: skip


def test_bottlecrms_activity_is_the_task_in_its_own_columns(bottlecrm):
    view = views_for(*bottlecrm)["lead"]
    assert (view.entity, view.activity) == ("lead", "task")
    assert (view.view.key, view.view.time) == ("lead_id", "created_at")
    assert view.features == [
        "status", "status_since", "source", "rating", "country", "opportunity_amount", "currency",
        "count_7d", "count_30d", "count_90d",
        "priority_distinct_7d", "priority_distinct_30d", "priority_distinct_90d",
        "priority_first", "priority_last", "status_last", "last_at",
    ]  # fmt: skip


def test_a_view_whose_activities_do_not_name_it_carries_attributes_only(bottlecrm):
    view = views_for(*bottlecrm)["contact"]
    assert view.activity is None
    assert view.features == ["account_id", "title", "country"]
    assert view.left_out["count_7d"] == "the manifest bottlecrm gives activity.contact_id to no column"
    assert view.left_out["amount_sum_90d"] == "the manifest bottlecrm gives activity.contact_id to no column"


def test_a_crm_without_business_times_of_activities_has_no_activity_features(sandbox):
    manifest, contracts = sandbox
    view = views_for(without_part(manifest, "activity", "occurred_at"), contracts)["lead"]
    assert view.activity is None
    assert view.left_out["last_at"] == "the manifest sandbox gives activity.occurred_at to no column"


def test_a_crm_without_an_object_has_no_view_of_it(sandbox):
    manifest, contracts = sandbox
    roles = {name: role for name, role in manifest.roles.items() if name != "lead"}
    found = views_for(manifest.model_copy(update={"roles": roles}), contracts)
    assert list(found) == ["account", "contact", "opportunity"]


def test_every_feature_says_which_columns_it_reads(sandbox):
    lineage = views_for(*sandbox)["lead"].lineage
    activity = [("activity", "lead_id"), ("activity", "occurred_at")]
    assert list(lineage["status"]) == [("lead", "status")]
    assert list(lineage["status_since"]) == [("lead", "status")]
    assert list(lineage["count_7d"]) == activity
    assert list(lineage["channel_last"]) == [*activity, ("activity", "channel")]
    assert list(lineage["amount_eur_sum_30d"]) == [*activity, ("activity", "amount"), ("activity", "currency")]
    assert list(lineage["last_at"]) == activity


def test_money_is_summed_per_declared_currency_only(sandbox):
    manifest, contracts = sandbox
    euros = with_roles(manifest, "activity", currencies=["EUR"])
    features = views_for(euros, contracts)["account"].features
    assert [name for name in features if name.startswith("amount")] == [
        "amount_eur_sum_7d",
        "amount_eur_sum_30d",
        "amount_eur_sum_90d",
    ]


def test_money_without_declared_currencies_is_left_out(sandbox):
    manifest, contracts = sandbox
    view = views_for(with_roles(manifest, "activity", currencies=[]), contracts)["account"]
    assert view.left_out["amount_sum_7d"] == "the manifest sandbox declares no currencies of activity"
    assert not [name for name in view.features if name.startswith("amount")]


def test_a_sum_of_money_that_names_no_currency_is_refused(sandbox):
    careless = DeclaredView("lead", "lead_id", (), (Sum("amount", window="30d"),))
    with pytest.raises(CatalogueError, match=r"sums the money column activity\.amount"):
        bind(careless, *sandbox)


def test_a_role_of_a_column_that_does_not_exist_is_refused(sandbox):
    manifest, contracts = sandbox
    columns = manifest.roles["lead"].columns | {"status": "lead_state"}
    with pytest.raises(CatalogueError, match=r"needs lead\.lead_state, which the contract does not have"):
        views_for(with_roles(manifest, "lead", columns=columns), contracts)


def test_two_parts_played_by_one_column_give_one_feature(sandbox):
    twice = DeclaredView("lead", "lead_id", (Attribute("owner_id"), Attribute("source")), (Count(window="7d"),))
    manifest, contracts = sandbox
    columns = manifest.roles["lead"].columns | {"source": "owner_id"}
    view = bind(twice, with_roles(manifest, "lead", columns=columns), contracts)
    assert view is not None
    assert view.features == ["owner_id", "count_7d"]


def test_the_declared_views_name_parts_and_not_columns(sandbox):
    manifest, contracts = sandbox
    renamed = replace(CATALOGUE[2], activities=ACTIVITY_FEATURES[:1])
    columns = manifest.roles["activity"].columns | {"lead_id": "contact_id"}
    view = bind(renamed, with_roles(manifest, "activity", columns=columns), contracts)
    assert view is not None
    assert view.view.key == "contact_id"
