import datetime as dt
from decimal import Decimal

import polars as pl
import pytest

from crm_platform.history import state_as_of
from crm_platform.history.registers import VersionsError
from crm_platform.history.state import NaiveMomentError
from crm_platform.history.versions import versions_from
from crm_platform_tests.scenario import COMPANY, LIFE, LIVING, at, landed

VERSIONS = versions_from(landed(*LIFE).lazy(), COMPANY).kept.collect()
MERGES = pl.DataFrame(
    [("boreal", "acme", at("04 16:00"), at("04 16:00")), ("boreal", None, at("05 12:00"), at("05 12:00"))],
    schema={
        "loser_id": pl.String,
        "winner_id": pl.String,
        "event_time": pl.Datetime("us", "UTC"),
        "processed_time": pl.Datetime("us", "UTC"),
    },
    orient="row",
)


def living(versions, moment, merges=None):
    return state_as_of(versions, moment, merges).select("entity_id", "name", "owner_id", "revenue").rows()


@pytest.mark.parametrize("moment", list(LIVING))
def test_the_scenario_shows_who_lives_at_every_moment(moment):
    expected = [(*row[:3], None if row[3] is None else Decimal(row[3])) for row in LIVING[moment]]
    assert living(VERSIONS, at(moment), MERGES) == expected
    assert living(VERSIONS.lazy(), at(moment), MERGES.lazy()) == expected


def test_a_write_dated_after_the_loser_s_tombstone_revives_it_and_the_link_hides_it():
    assert [row[0] for row in living(VERSIONS, at("05 11:59"))] == ["acme", "boreal"]
    assert [row[0] for row in living(VERSIONS, at("05 11:59"), MERGES)] == ["acme"]


def test_the_state_holds_the_entitys_own_fields_and_no_provenance():
    assert state_as_of(VERSIONS, at("09 00:00")).columns == ["entity_id", *COMPANY.columns]


def test_a_merge_hides_the_loser_even_where_its_own_versions_do_not_say_so():
    told = VERSIONS.filter(pl.col("operation") != "merge")
    assert [row[0] for row in living(told, at("04 16:00"))] == ["acme", "boreal"]
    assert [row[0] for row in living(told, at("04 16:00"), MERGES)] == ["acme"]
    assert [row[0] for row in living(told, at("04 15:59:59.999999"), MERGES)] == ["acme", "boreal"]


def test_what_becomes_known_at_the_moment_counts():
    just_before = at("01 09:00") - dt.timedelta(microseconds=1)
    assert state_as_of(VERSIONS, just_before).is_empty()
    assert state_as_of(VERSIONS, at("01 09:00"))["entity_id"].to_list() == ["acme"]


def test_columns_that_are_not_needed_may_be_absent():
    bare = VERSIONS.select("entity_id", "event_time", "processed_time", "name").filter(pl.col("entity_id") == "acme")
    assert state_as_of(bare, at("01 10:00")).rows() == [("acme", "Acme")]


def test_a_naive_moment_is_refused():
    with pytest.raises(NaiveMomentError, match="as_of 2026-03-01T00:00:00 has no time zone"):
        state_as_of(VERSIONS, dt.datetime(2026, 3, 1))  # noqa: DTZ001


def test_versions_with_naive_times_are_refused():
    with pytest.raises(VersionsError, match="versions have event_time as"):
        state_as_of(VERSIONS.with_columns(pl.col("event_time").dt.replace_time_zone(None)), at("01 09:00"))
    with pytest.raises(VersionsError, match="The versions lack processed_time"):
        state_as_of(VERSIONS.drop("processed_time"), at("01 09:00"))
