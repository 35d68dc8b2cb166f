"""Values that moved are measured: the index against figures worked out by hand."""

import base64
import datetime as dt
import re
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from crm_platform.quality.pictures import fields_over_days, lines_over_days
from crm_platform.quality.stability import Profiles, index, indices, may_be_null, new_values, profile, profiles, psi
from crm_platform_tests.quality.test_drift import DEAL, export


def columns(frame: pl.DataFrame) -> Profiles:
    return profiles(DEAL, frame.to_dict())


def moved(reference: pl.Series, found: pl.Series) -> float:
    return index(profile(reference), profile(found)).value


def test_half_and_half_become_three_quarters_and_one():
    """0.25 · ln 1.5 − 0.25 · ln 0.5 = 0.25 · 0.4054651 + 0.25 · 0.6931472."""
    assert psi([50, 50], [75, 25]) == pytest.approx(0.2746531, abs=1e-7)
    assert psi([500, 500], [3, 1]) == pytest.approx(0.2746531, abs=1e-7)


def test_equal_shares_have_moved_nowhere():
    assert psi([1, 2, 3], [100, 200, 300]) == 0.0


def test_an_empty_bin_counts_as_half_a_row():
    """(1 − 0.5) · ln 2 + (0.0005 − 0.5) · ln 0.001 = 0.3465736 + 3.4504236."""
    assert psi([500, 500], [1000, 0]) == pytest.approx(3.7969972, abs=1e-6)


def test_categories_are_compared_by_their_names_and_nulls_are_left_aside():
    usual = pl.Series(["a", "b", "a", "b", None, None] * 20)
    assert moved(usual, pl.Series(["b", "a", "a", "a"] * 20)) == pytest.approx(0.2746531, abs=1e-7)
    assert index(profile(usual), profile(pl.Series([None] * 80, dtype=pl.String))) is None


def test_numbers_are_compared_over_the_deciles_of_the_reference():
    """All found in the last of ten: nine times (1/140 − 0.1) · ln(10/140) = 2.2054979, and 0.9 · ln 10 = 2.0723266."""
    usual = pl.Series(range(1, 101))
    assert moved(usual, usual) == 0.0
    assert moved(usual, pl.Series([1000] * 70)) == pytest.approx(4.2778245, abs=1e-6)


def test_a_constant_that_stays_has_not_moved_and_one_that_rises_has():
    assert moved(pl.Series([5] * 90), pl.Series([5] * 60)) == 0.0
    assert moved(pl.Series([5] * 90), pl.Series([6] * 60)) == pytest.approx(9.911703, abs=1e-6)


def test_what_chance_does_is_told_with_the_index():
    """Two bins of 100 values each: 18.893 · (1/100 + 1/100)."""
    found = index(profile(pl.Series(["a", "b"] * 50)), profile(pl.Series(["a", "b"] * 50)))
    assert found.by_chance == pytest.approx(0.37787, abs=1e-4)


def test_keys_moments_lists_and_free_text_of_many_values_have_no_index():
    many = pl.concat(export(id=[str(n), str(-n)], owner_id=[f"o{n}", f"p{n}"]) for n in range(1, 110))
    assert sorted(indices(columns(many), columns(many))) == ["amount", "probability", "stage"]


def test_too_few_values_have_no_index():
    few = pl.concat([export()] * 40)
    assert sorted(indices(columns(few), columns(few))) == ["owner_id", "probability", "stage"]


def test_new_values_of_declared_categories_are_named_with_their_rows():
    usual = columns(export())
    assert new_values(DEAL, [usual], columns(export(stage=["lost", "won"]))) == {"stage": (["lost"], 1)}
    assert new_values(DEAL, [usual], usual) == {}


def test_a_value_that_any_sample_before_holds_is_not_new():
    lost, usual = (columns(export(stage=[stage, "won"])) for stage in ("lost", "open"))
    assert new_values(DEAL, [usual, lost, usual], lost) == {}


def test_nulls_are_compared_of_the_columns_that_may_be_null_and_counted_of_all():
    assert may_be_null(DEAL) == ["amount", "probability", "tags"]
    told = columns(export())
    assert {name: (told[name].nulls, told[name].rows) for name in ("amount", "tags", "id")} == {
        "amount": (1, 2), "tags": (1, 2), "id": (0, 2),
    }  # fmt: skip


def test_a_picture_is_an_image_in_markdown_with_a_line_per_name_and_red_over_the_limit():
    days = [dt.date(2026, 3, day) for day in (1, 2, 3)]
    series = {"psi stage": dict(zip(days, (0.0, 0.1, 0.5), strict=True)), "nulls <x>": {days[0]: 0.01}}
    told = lines_over_days("deal", series, {"psi stage": 0.25}).text
    encoded = re.fullmatch(r"!\[deal\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", told).group(1)
    svg = ET.fromstring(base64.b64decode(encoded))  # noqa: S314  our own text
    space = "{http://www.w3.org/2000/svg}"
    assert [text.text for text in svg.iter(f"{space}text")] == [
        "deal", "psi stage", "0.5", "0 … 0.5", "nulls <x>", "0 … 0.01", "2026-03-01 … 2026-03-03",
    ]  # fmt: skip
    lines = list(svg.iter(f"{space}polyline"))
    assert [line.get("stroke") for line in lines] == ["#c53030", "#2b6cb0"]
    assert lines[0].get("points") == "200.0,58.0 375.0,51.2 550.0,24.0"


def test_lines_of_one_scale_are_cut_at_its_top_and_say_what_they_are():
    days = [dt.date(2026, 3, day) for day in (1, 2)]
    told = lines_over_days(
        "deal", {"psi stage": dict(zip(days, (9.0, 1.0), strict=True))}, {"psi stage": 1.0}, 2.0
    ).text
    svg = base64.b64decode(re.search(r"base64,([^)]+)", told).group(1)).decode()
    assert 'points="200.0,24.0 550.0,41.0"' in svg
    assert 'y1="41.0"' in svg


def test_fields_are_one_where_neighbours_are_alike_and_blank_where_nothing_was_measured():
    days = [dt.date(2026, 3, day) for day in (1, 2, 3, 5)]
    series = {"count_7d": dict(zip(days, (0.05, 0.09, 0.2, 0.6), strict=True))}
    told = fields_over_days("lead", series, (0.1, 0.25), ("still", "small", "far")).text
    encoded = re.fullmatch(r"!\[lead\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", told).group(1)
    svg = ET.fromstring(base64.b64decode(encoded))  # noqa: S314  our own text
    space = "{http://www.w3.org/2000/svg}"
    boxes = [(box.get("x"), box.get("width"), box.get("fill")) for box in svg.iter(f"{space}rect")]
    assert boxes[1:4] == [("230.0", "128.0", "#cfe3d4"), ("358.0", "64.0", "#ecc94b"), ("486.0", "64.0", "#c53030")]
    assert [text.text for text in svg.iter(f"{space}text")] == [
        "lead", "count_7d", "0.6", "2026-03-01 … 2026-03-05", "still", "small", "far",
        "blank: not measured",
    ]  # fmt: skip
