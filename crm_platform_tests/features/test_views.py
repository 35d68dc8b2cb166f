from datetime import timedelta

import pytest

from crm_platform.features import (
    Attribute,
    Count,
    Distinct,
    FeatureView,
    First,
    Last,
    Max,
    Mean,
    Min,
    Recency,
    Std,
    Sum,
)
from crm_platform.features.views import ViewError, span_of


def view(*features, key="account_id"):
    return FeatureView(name="calls", entity="account", key=key, features=features)


def test_features_are_named_by_column_operation_and_window():
    assert view(
        Attribute("stage", since=True),
        Count(window="7d"),
        Count(),
        Sum("amount", window="30d"),
        Sum("amount", window="30d", currency="currency", currencies=("EUR", "USD")),
        Mean("amount", window="12h"),
        Std("amount"),
        Min("amount", window="2w"),
        Max("amount"),
        Distinct("channel", window="90d"),
        First("channel"),
        Last("channel"),
        Recency(),
    ).columns == [
        "stage",
        "stage_since",
        "count_7d",
        "count",
        "amount_sum_30d",
        "amount_eur_sum_30d",
        "amount_usd_sum_30d",
        "amount_mean_12h",
        "amount_std",
        "amount_min_2w",
        "amount_max",
        "channel_distinct_90d",
        "channel_first",
        "channel_last",
        "last_at",
    ]


def test_a_view_reads_each_column_once():
    of = view(Sum("amount", window="7d", currency="currency", currencies=("EUR",)), Last("amount"), Attribute("stage"))
    assert of.reads == ["amount", "currency"]
    assert [one.column for one in of.attributes] == ["stage"]


@pytest.mark.parametrize(
    ("window", "span"),
    [
        ("45s", timedelta(seconds=45)),
        ("30m", timedelta(minutes=30)),
        ("12h", timedelta(hours=12)),
        ("2w", timedelta(14)),
    ],
)
def test_a_window_is_a_whole_number_and_a_unit(window, span):
    assert span_of(window) == span


@pytest.mark.parametrize("window", ["", "7", "d", "0d", "-7d", "1.5d", "7D", "7 d", 7, "1mo"])
def test_other_windows_are_refused(window):
    with pytest.raises(ViewError, match=r"is no stretch of time\. Give a whole number and a unit"):
        Count(window=window)


def test_the_longest_window_is_that_of_all_features_and_none_where_one_looks_at_all_time():
    assert view(Count(window="7d"), Distinct("channel", window="90d")).longest == timedelta(90)
    assert view(Count(window="7d"), Recency()).longest is None
    assert FeatureView(name="a", entity="account", features=[Attribute("stage")]).longest is None


def test_features_over_activities_need_a_key():
    with pytest.raises(ViewError, match="calls has no key, but 1 features over activities: count_7d"):
        view(Attribute("stage"), Count(window="7d"), key=None)


@pytest.mark.parametrize(
    "features",
    [
        (Count(window="7d"), Count(window="7d")),
        (Attribute("is_deleted"),),
        (Attribute("stage", since=True), Attribute("stage_since")),
        (Attribute("last_at"), Recency()),
    ],
)
def test_columns_that_are_taken_are_refused(features):
    with pytest.raises(ViewError, match="View calls names 1 columns twice or as the platform does"):
        view(*features)


@pytest.mark.parametrize(
    "feature",
    [
        Sum("amount", window="7d", currency="currency"),
        Sum("amount", window="7d", currencies=("EUR",)),
        Sum("amount", window="7d", currency="currency", currencies=("EUR", "eur")),
    ],
)
def test_a_currency_column_and_its_currencies_go_together(feature):
    with pytest.raises(ViewError, match="needs both `currency`"):
        view(feature)


def test_a_feature_of_nothing_is_refused():
    for make in (Sum, Mean, Distinct, First, Last):
        with pytest.raises(ViewError, match=f"The column of {make.__name__} needs a name"):
            make("")
    with pytest.raises(ViewError, match="Attribute needs a name"):
        Attribute()
    with pytest.raises(ViewError, match="View calls has no features"):
        view()
