"""The picture on a table's newest day: drawn from what earlier days told, the newest telling of each."""

import base64
import datetime as dt
import re

import dagster as dg
import pytest

from crm_platform.defs.over_time import with_picture
from crm_platform.defs.report import written

KEY = dg.AssetKey(["history", "lead"])
DAY = dt.date(2026, 3, 1)


def on(day, **facts):
    return {DAY + dt.timedelta(days=day): facts}


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def tell(instance, days):
    """Materializations of some days, as a body of an asset reports them."""
    for event in written(KEY, days):
        if isinstance(event, dg.AssetMaterialization):
            instance.report_runless_asset_event(event)


def svg_of(told, day):
    shown = told[DAY + dt.timedelta(days=day)]["over_time"].text
    return base64.b64decode(re.search(r"base64,([^)]+)\)", shown).group(1)).decode()


def words_in(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_days_of_this_run_and_those_told_before_are_one_line(instance):
    late = dt.timedelta(hours=3)
    tell(instance, on(0, rows=10) | on(1, rows=1200, late_p99=late))
    told = with_picture(instance, KEY, on(2, rows=1500, late_p99=late * 2))
    assert words_in(svg_of(told, 2)) == [
        "history/lead, day by day", "rows", "1,500", "0 … 1,500", "recorded late, hours (p99)", "6", "0 … 6",
        "2026-03-01 … 2026-03-03",
    ]  # fmt: skip


def test_a_day_told_twice_counts_as_it_was_told_last(instance):
    tell(instance, on(0, rows=1))
    tell(instance, on(0, rows=4))
    told = with_picture(instance, KEY, on(1, rows=2))
    assert '<polyline points="200.0,24.0 550.0,41.0"' in svg_of(told, 1)  # 4 is the most; 2 half as high


def test_a_line_that_is_nothing_on_all_days_lies_at_the_bottom_of_a_scale_to_one(instance):
    svg = svg_of(with_picture(instance, KEY, on(0, quarantined=0) | on(1, quarantined=0)), 1)
    assert words_in(svg)[2:4] == ["0", "0 … 1"]
    assert '<polyline points="200.0,58.0 550.0,58.0"' in svg


def test_only_the_newest_day_has_a_picture_and_days_longer_ago_than_thirty_are_not_in_it(instance):
    tell(instance, on(0, rows=1) | on(1, rows=1))
    told = with_picture(instance, KEY, on(30, rows=1) | on(29, rows=1))
    assert "over_time" not in told[DAY + dt.timedelta(days=29)]
    assert "2026-03-02 … 2026-03-31" in words_in(svg_of(told, 30))


def test_one_day_is_no_picture_and_no_day_is_none_either(instance):
    assert with_picture(instance, KEY, on(0, rows=1)) == on(0, rows=1)
    assert with_picture(instance, KEY, {}) == {}


def test_a_picture_of_thirty_days_is_small_since_it_is_kept_with_every_event(instance):
    days = {}
    for number in range(30):
        days |= on(number, rows=10_000 + number, quarantined=number, lag_p99=dt.timedelta(seconds=number * 1234))
    told = with_picture(instance, KEY, days)
    assert len(told[DAY + dt.timedelta(days=29)]["over_time"].text) < 4_000


def test_features_that_moved_are_fields_of_their_own_picture_the_most_moved_first(instance):
    """Told before and told now are one; a day of which nothing was said stays blank."""
    tell(instance, on(0, feature_drift={"count_7d": 0.02, "status": 0.01}))
    told = with_picture(instance, KEY, on(2, feature_drift={"count_7d": 0.4, "status": 0.03}))
    shown = told[DAY + dt.timedelta(days=2)]["feature_drift_over_time"].text
    svg = base64.b64decode(re.search(r"base64,([^)]+)\)", shown).group(1)).decode()
    assert words_in(svg) == [
        "history/lead: how far features are from those of four weeks before (PSI)",
        "count_7d", "0.4", "status", "0.03", "2026-03-01 … 2026-03-03",
        "still: up to 0.1", "a small shift: up to 0.25", "a significant shift", "blank: not measured",
    ]  # fmt: skip
    assert re.findall(r'width="106.7" height="14" fill="([^"]+)"', svg) == [
        "#cfe3d4", "#c53030", "#cfe3d4", "#cfe3d4",
    ]  # fmt: skip


def test_a_picture_of_forty_features_is_not_big_even_where_all_of_them_change_colour_daily(instance):
    days = {}
    for number in range(30):
        days |= on(number, feature_drift={f"feature_number_{n}": 0.3 * ((number + n) % 2) for n in range(40)})
    told = with_picture(instance, KEY, days)
    assert len(told[DAY + dt.timedelta(days=29)]["feature_drift_over_time"].text) < 130_000
