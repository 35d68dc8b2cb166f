"""What a run shows of the exports' schemas and values: columns beside each other, the schemas there were, a picture."""

import datetime as dt

import pytest

from crm_platform.lake import Lake
from crm_platform_tests.defs.test_checks import evaluations, values
from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in, versions

DAYS = 8
CHANGED = dt.date(2026, 3, 4)
RENAMED = {"schema_change": {"object": "account", "day": CHANGED, "rename": {"employees": "staff"}}}


@pytest.fixture
def ran(tmp_path):
    """Settings of a lake whose accounts' exports have a renamed column from the fourth day on."""
    with sandbox_at(tmp_path / "sandbox", days=DAYS, accounts=220, faults=RENAMED) as base_url:
        settings = settings_in(tmp_path, base_url, DAYS)
        assert run_days(settings, FIRST, settings.last_day)
        yield settings


def test_the_day_shows_its_columns_and_the_summary_all_schemas_and_a_second_run_writes_nothing(ran):
    told = evaluations(("landing/snapshot/account", "schema_drift"))
    day = values(told["2026-03-04"])
    assert "| employees | Int64, may be null |  | removed |" in day["columns"]
    assert "| staff |  | Int64, may be null | added |" in day["since_2026-03-03"]
    assert "99% of the entities have the value they had" in day["examples"]
    assert "no column has changed" in values(told["2026-03-03"])["since_2026-03-02"]
    schemas = values(told[None])["schemas"].splitlines()
    assert [line.split(" | ")[0] for line in schemas[2:]] == ["| 2026-03-04", "| 2026-03-01"]
    assert schemas[2].endswith("| 14 | −employees; +staff |")

    found = values(evaluations(("landing/snapshot/contact", "value_drift"))["2026-03-08"])
    assert found["picture"].startswith(
        "![contact: distance from the nearest of the 7 samples before; 1, dashed, is what is allowed](data:image/svg+xml"
    )
    lake = Lake(ran.lake_root)
    before = versions(lake)["quality/schemas"]
    assert run_days(ran, FIRST, ran.last_day)
    assert versions(Lake(ran.lake_root))["quality/schemas"] == before
