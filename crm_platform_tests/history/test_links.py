import polars as pl
import pytest

from crm_platform.history.links import roots_of
from crm_platform.history.registers import BEGINNING, VersionsError
from crm_platform.history.walks import FOREVER
from crm_platform_tests.features.timeline_rows import at, merges


def micros(moment):
    return round(moment.timestamp() * 1_000_000)


def pieces(*facts):
    """The roots of every loser, as (loser, since, root), moments as days of March."""
    found = roots_of(merges(*facts)).pieces
    days = {micros(at(day)): day for day in range(1, 32)} | {BEGINNING: None}
    return [(loser, days[since], root) for loser, since, root in found.select("entity_id", "since", "root_id").rows()]


def test_a_loser_is_its_own_root_until_the_merge_is_known():
    assert pieces(("A", "B", at(2), at(3))) == [("A", None, "A"), ("A", 3, "B")]


def test_a_chain_is_followed_to_its_end_as_far_as_it_is_known():
    assert pieces(("A", "B", at(3)), ("B", "C", at(2), at(5))) == [
        ("A", None, "A"),
        ("A", 3, "B"),
        ("A", 5, "C"),
        ("B", None, "B"),
        ("B", 5, "C"),
    ]


def test_an_unmerge_and_a_re_merge_need_no_special_case():
    assert pieces(("A", "B", at(2)), ("A", None, at(4)), ("A", "B", at(6))) == [
        ("A", None, "A"),
        ("A", 2, "B"),
        ("A", 4, "A"),
        ("A", 6, "B"),
    ]


def test_an_older_fact_that_becomes_known_later_changes_nothing():
    assert pieces(("A", "B", at(4)), ("A", "C", at(2), at(6))) == [("A", None, "A"), ("A", 4, "B")]


def test_at_equal_times_the_greater_winner_stands_and_a_null_is_lowest():
    assert pieces(("A", "C", at(2)), ("A", "B", at(2)), ("A", None, at(2))) == [("A", None, "A"), ("A", 2, "C")]


def test_in_a_cycle_the_winner_of_the_greatest_fact_is_the_root_of_all():
    assert pieces(("A", "B", at(2)), ("B", "C", at(4)), ("C", "A", at(3)), ("D", "A", at(5))) == [
        ("A", None, "A"),
        ("A", 2, "B"),
        ("A", 4, "C"),
        ("B", None, "B"),
        ("B", 4, "C"),
        ("C", None, "C"),
        ("C", 3, "B"),
        ("C", 4, "C"),
        ("D", None, "D"),
        ("D", 5, "C"),
    ]


def test_a_cycle_of_one_and_a_repeated_fact_do_no_harm():
    assert pieces(("A", "A", at(2)), ("A", "A", at(2))) == [("A", None, "A")]


def test_a_long_chain_in_any_order_of_arrival_has_one_root():
    facts = [(f"n{number:03}", f"n{number + 1:03}", at(2), at(2 + number * 7 % 20)) for number in range(100)]
    found = roots_of(merges(*facts)).pieces.filter(pl.col("until") == FOREVER)
    assert found["root_id"].unique().to_list() == ["n100"]
    assert found.height == 100


def test_stretches_of_a_loser_cover_the_whole_axis_without_a_gap():
    found = roots_of(merges(("A", "B", at(2)), ("B", "C", at(3)), ("C", "A", at(4)), ("B", None, at(5)))).pieces
    for _, rows in found.group_by("entity_id"):
        stretch = rows.sort("since")
        assert stretch["since"].to_list() == [BEGINNING, *stretch["until"].to_list()[:-1]]
        assert stretch["until"].to_list()[-1] == FOREVER


def test_no_facts_are_no_pieces():
    assert roots_of(None).pieces.is_empty()
    assert roots_of(merges()).pieces.is_empty()


def test_facts_without_a_column_or_with_a_naive_time_are_refused():
    with pytest.raises(VersionsError, match="The merges lack winner_id"):
        roots_of(merges(("A", "B", at(2))).drop("winner_id"))
    with pytest.raises(VersionsError, match="merges have event_time as"):
        roots_of(merges(("A", "B", at(2))).with_columns(pl.col("event_time").dt.replace_time_zone(None)))
