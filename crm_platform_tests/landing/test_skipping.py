"""What the feed lost for good is seen, skipped once, and landing goes on behind it: nothing jumps by itself."""

import pytest

from crm_platform.contracts import contracts_in
from crm_platform.landing import (
    LostRange,
    batches,
    covered_days,
    gaps_in,
    land_changes,
    landed_offset,
    lost_range,
    skip_range,
    watermark,
)
from crm_platform.sources import GapError
from crm_platform_tests.landing.conftest import FIRST, REAL, small_sandbox


@pytest.fixture
def contracts(sandbox_manifest):
    return contracts_in(sandbox_manifest.contracts)


def land(lake, source, manifest, contracts):
    return land_changes(lake, source, manifest, contracts, ingested_at=lambda: REAL)


def test_a_feed_that_goes_on_has_lost_nothing(sandbox_manifest, contracts, lake, tmp_path):
    with small_sandbox(sandbox_manifest, tmp_path / "sandbox") as crm:
        assert lost_range(lake, crm) is None
        land(lake, crm, sandbox_manifest, contracts)
        assert lost_range(lake, crm) is None


def test_a_feed_that_forgot_its_beginning_is_followed_from_where_it_still_reaches(
    sandbox_manifest, contracts, lake, tmp_path
):
    with small_sandbox(sandbox_manifest, tmp_path / "sandbox", retention_days=2) as crm:
        with pytest.raises(GapError, match="crm-platform feed skip"):
            land(lake, crm, sandbox_manifest, contracts)
        lost = lost_range(lake, crm)
        assert lost is not None
        assert (lost.from_offset, int(lost.to_offset)) == (None, int(crm.head().earliest) - 1)
        skip_range(lake, lost, recorded_at=lambda: REAL)
        assert landed_offset(lake) == lost.to_offset
        assert covered_days([FIRST], watermark(lake)) == []
        assert lost_range(lake, crm) is None
        land(lake, crm, sandbox_manifest, contracts)
        assert landed_offset(lake) == crm.head().offset
    assert gaps_in(batches(lake)) == []
    assert [batch.batch_id for batch in batches(lake)] == ["lost-0000000001", "feed-0000000002"]


def test_what_lies_before_an_overflow_lands_and_the_overflow_alone_is_skipped(
    sandbox_manifest, contracts, lake, tmp_path
):
    faults = {"gap_events": {"share": 0, "overflow_every": 40}}
    with small_sandbox(sandbox_manifest, tmp_path / "sandbox", faults=faults) as crm:
        assert lost_range(lake, crm) is None  # there is something to land first
        with pytest.raises(GapError):
            land(lake, crm, sandbox_manifest, contracts)
        reached = watermark(lake)
        width = len(landed_offset(lake) or "")
        assert lost_range(lake, crm) == LostRange("39".zfill(width), "40".zfill(width))
        skip_range(lake, LostRange("39".zfill(width), "40".zfill(width)), recorded_at=lambda: REAL)
        assert watermark(lake) == reached
        with pytest.raises(GapError, match="offset 80"):
            land(lake, crm, sandbox_manifest, contracts)
    assert gaps_in(batches(lake)) == []
    assert reached is not None
    assert watermark(lake) > reached
