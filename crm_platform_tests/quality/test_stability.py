"""Values that moved are measured: the index against figures worked out by hand."""

import base64
import datetime as dt
import re
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from crm_platform.quality.pictures import lines_over_days
from crm_platform.quality.stability import indices, new_values, null_rates, psi, psi_of_categories, psi_of_numbers
from crm_platform_tests.quality.test_drift import DEAL, export


def test_half_and_half_become_three_quarters_and_one():
    """0.25 · ln 1.5 − 0.25 · ln 0.5 = 0.25 · 0.4054651 + 0.25 · 0.6931472."""
    assert psi([50, 50], [75, 25]) == pytest.approx(0.2746531, abs=1e-7)
    assert psi([500, 500], [3, 1]) == pytest.approx(0.2746531, abs=1e-7)


def test_equal_shares_have_moved_nowhere():
    assert psi([1, 2, 3], [100, 200, 300]) == 0.0


def test_an_empty_bin_counts_as_one_in_ten_thousand():
    """(1 − 0.5) · ln 2 + (0.0001 − 0.5) · ln 0.0002 = 0.3465736 + 4.2577448."""
    assert psi([1, 1], [1, 0]) == pytest.approx(4.6043184, abs=1e-6)


def test_categories_are_compared_by_their_names_and_nulls_are_left_aside():
    usual = pl.Series(["a", "b", "a", "b", None, None])
    assert psi_of_categories(usual, pl.Series(["b", "a", "a", "a"])) == pytest.approx(0.2746531, abs=1e-7)
    assert psi_of_categories(usual, pl.Series([None], dtype=pl.String)) is None


def test_numbers_are_compared_over_the_deciles_of_the_reference():
    """All found in the last of ten: nine times (0.0001 − 0.1) · ln 0.001 = 0.6900848, and 0.9 · ln 10 = 2.0723266."""
    usual = pl.Series(range(1, 101))
    assert psi_of_numbers(usual, usual) == 0.0
    found = psi_of_numbers(usual, pl.Series([1000] * 7))
    assert found == pytest.approx(8.2830898, abs=1e-5)


def test_a_constant_that_stays_has_not_moved_and_one_that_rises_has():
    assert psi_of_numbers(pl.Series([5] * 9), pl.Series([5] * 4)) == 0.0
    assert psi_of_numbers(pl.Series([5] * 9), pl.Series([6] * 4)) == pytest.approx(18.418839, abs=1e-5)


def test_keys_moments_lists_and_free_text_of_many_values_have_no_index():
    many = pl.concat(export(id=[str(n), str(-n)], owner_id=[f"o{n}", f"p{n}"]) for n in range(1, 110))
    assert sorted(indices(DEAL, many, many)) == ["amount", "probability", "stage"]


def test_too_few_values_have_no_index():
    few = pl.concat([export()] * 60)
    assert sorted(indices(DEAL, few, few)) == ["owner_id", "probability", "stage"]


def test_new_values_of_declared_categories_are_named_with_their_rows():
    assert new_values(DEAL, export(), export(stage=["lost", "won"])) == {"stage": (["lost"], 1)}
    assert new_values(DEAL, export(), export()) == {}


def test_null_rates_are_of_the_columns_that_may_be_null():
    assert null_rates(DEAL, export()) == {"amount": 0.5, "probability": 0.0, "tags": 0.5}


def test_a_picture_is_an_image_in_markdown_with_a_line_per_name_and_red_over_the_limit():
    days = [dt.date(2026, 3, day) for day in (1, 2, 3)]
    series = {"psi stage": dict(zip(days, (0.0, 0.1, 0.5), strict=True)), "nulls <x>": {days[0]: 0.01}}
    told = lines_over_days("deal", series, {"psi stage": 0.25}).text
    encoded = re.fullmatch(r"!\[deal\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", told).group(1)
    svg = ET.fromstring(base64.b64decode(encoded))  # noqa: S314  our own text
    space = "{http://www.w3.org/2000/svg}"
    assert [text.text for text in svg.iter(f"{space}text")] == [
        "deal", "psi stage", "0.5", "nulls <x>", "0.01", "2026-03-01 … 2026-03-03",
    ]  # fmt: skip
    lines = list(svg.iter(f"{space}polyline"))
    assert [line.get("stroke") for line in lines] == ["#c53030", "#2b6cb0"]
    assert lines[0].get("points") == "200.0,58.0 375.0,51.2 550.0,24.0"
