"""Landed changes become versions: one per thing that happened."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_platform.history.versions import listed_losers, versions_from
from crm_platform_tests.scenario import (
    COMPANY,
    CORRECTED,
    CREATED,
    FELLED,
    LIFE,
    MERGED,
    QUARREL,
    RENAMED,
    TWICE,
    at,
    change,
    landed,
)


def kept(*rows: dict, **asked) -> pl.DataFrame:
    return versions_from(landed(*rows).lazy(), COMPANY, **asked).kept.collect()


def rejected(*rows: dict, **asked) -> pl.DataFrame:
    return versions_from(landed(*rows).lazy(), COMPANY, **asked).rejected.collect()


def test_a_change_delivered_twice_is_one_version_with_the_first_arrivals_provenance():
    found = kept(TWICE, CREATED, RENAMED)
    assert found.select("entity_id", "source_position", "_batch_id").rows() == [
        ("acme", "001", "batch-1"),
        ("acme", "002", "batch-1"),
    ]


def test_history_has_no_payload():
    assert kept(CREATED).schema == COMPANY.history_schema


def test_changes_that_contradict_each_other_are_all_rejected_and_nothing_else_is():
    found = rejected(*QUARREL, *LIFE)
    assert found.select("entity_id", "rule").rows() == [("delta", "conflicting_versions")] * 2
    assert kept(*QUARREL, *LIFE).equals(kept(*LIFE))


def test_a_third_delivery_that_agrees_with_one_side_does_not_settle_a_contradiction():
    assert kept(*QUARREL, QUARREL[0] | {"_batch_id": "batch-9"}).is_empty()


def test_the_order_in_which_a_change_names_its_fields_is_no_difference():
    there = change("acme", "002", "02 10:00", changed_fields=["name", "owner_id"], name="A", owner_id="x")
    back = there | {"changed_fields": ["owner_id", "name", "owner_id"]}
    assert kept(there, back)["changed_fields"].to_list() == [["name", "owner_id"]]


def test_a_null_is_not_an_absent_field():
    said = change("acme", "002", "02 10:00", changed_fields=["owner_id"], owner_id=None)
    unsaid = change("acme", "002", "02 10:00", changed_fields=[])
    assert rejected(said, unsaid).height == 2


def test_a_tombstone_writes_no_field_whatever_was_delivered_with_it():
    found = kept(FELLED | {"name": "Cedar", "id": "cedar"}).row(0, named=True)
    assert (found["is_tombstone"], found["changed_fields"], found["name"], found["id"]) == (True, [], None, None)


def test_only_a_merge_names_a_winner():
    assert kept(CREATED | {"merged_into": "elsewhere"})["merged_into"].to_list() == [None]
    assert kept(MERGED)["merged_into"].to_list() == ["acme"]


def test_a_merge_without_a_winner_is_rejected_where_the_source_points_from_the_loser():
    nameless = change("acme", "009", "04 16:00", operation="merge", name="Acme")
    assert rejected(nameless)["rule"].to_list() == ["merge_without_winner"]


def test_a_merge_without_a_winner_is_the_third_ids_birth_where_the_source_lists_the_old_ones():
    nameless = change("union", "009", "04 16:00", operation="merge", name="Union", merged_ids=["acme", "boreal"])
    found = kept(nameless, lists_losers=True)
    assert found.select("operation", "is_tombstone", "name").rows() == [("create", False, "Union")]


def test_an_arrival_is_one_version_however_often_it_comes_where_only_arrival_proves_it():
    first = change("acme", "001", "01 09:00", "01 10:00")
    again = change("acme", "001", "01 09:00", "02 10:00", modified_at=first["modified_at"])
    assert kept(first, again).height == 2
    assert kept(again, first, knowledge="ingest")["processed_time"].to_list() == [at("01 10:00")]


def test_an_arrival_without_an_edit_time_is_one_version_too():
    edited = {"modified_at": at("01 00:00")}
    first = change("acme", "001", "01 10:00", **edited)
    again = change("acme", "001", "02 10:00", **edited)
    assert kept(again, first, knowledge="ingest")["event_time"].to_list() == [at("01 10:00")]


UNION = change("union", "020", "04 10:00", name="Union", merged_ids=["acme", "boreal"])


def losers(*rows: dict, earlier: pl.LazyFrame | None = None) -> pl.DataFrame:
    return listed_losers(kept(*rows).lazy(), COMPANY, "merged_ids", earlier).collect()


def test_each_old_id_that_a_third_one_lists_gets_a_tombstone_that_names_it():
    found = losers(UNION, CREATED)
    assert found.select("entity_id", "operation", "is_tombstone", "merged_into", "event_time").rows() == [
        ("acme", "merge", True, "union", at("04 10:00")),
        ("boreal", "merge", True, "union", at("04 10:00")),
    ]
    assert found.schema == COMPANY.history_schema


def test_a_pair_has_the_times_of_the_least_version_that_lists_it():
    grown = change("union", "021", "05 10:00", changed_fields=["merged_ids"], merged_ids=["acme", "boreal", "cedar"])
    assert losers(UNION, grown).select("entity_id", "event_time").rows() == [
        ("acme", at("04 10:00")),
        ("boreal", at("04 10:00")),
        ("cedar", at("05 10:00")),
    ]


def test_a_version_that_does_not_write_the_list_lists_nothing():
    silent = change("union", "021", "05 10:00", changed_fields=["name"], name="Union", merged_ids=["cedar"])
    assert losers(silent).is_empty()


def test_a_listing_that_comes_late_and_is_dated_earlier_adds_a_merge_and_takes_none_back():
    late = change("union", "030", "03 10:00", "06 10:00", changed_fields=["merged_ids"], merged_ids=["acme"])
    assert losers(UNION, late).filter(pl.col("entity_id") == "acme").select("event_time", "processed_time").rows() == [
        (at("04 10:00"), at("04 10:00")),
        (at("03 10:00"), at("06 10:00")),
    ]


def test_what_an_earlier_day_has_listed_is_not_merged_again():
    before = pl.LazyFrame({"loser_id": ["acme"], "winner_id": ["union"], "event_time": [at("04 10:00")]})
    again = change("union", "021", "05 10:00", changed_fields=["merged_ids"], merged_ids=["acme", "cedar"])
    assert losers(again, earlier=before)["entity_id"].to_list() == ["cedar"]


@settings(max_examples=60, deadline=None)
@given(st.permutations([*LIFE, *QUARREL, CORRECTED | {"_batch_id": "batch-3"}, UNION]))
def test_any_order_of_delivery_gives_one_history(order):
    assert kept(*order).equals(kept(*LIFE, UNION))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(LIFE), max_size=20))
def test_landing_a_page_twice_changes_nothing(page):
    found = versions_from(landed(*LIFE, *page).lazy(), COMPANY)
    assert found.kept.collect().equals(kept(*LIFE))
    assert found.rejected.collect().is_empty()
