"""Which days a watermark covers and closes, and whether batches tile."""

from datetime import UTC, date, datetime, timedelta

from crm_platform.landing import Batch, Gap, closed_days, covered_days, gaps_in, landed_offset, watermark

DAYS = [date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)]
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
US = timedelta(microseconds=1)


def test_nothing_is_covered_before_the_first_batch(lake):
    assert (watermark(lake), landed_offset(lake)) == (None, None)
    assert (covered_days(DAYS, None), closed_days(DAYS, None)) == ([], [])


def test_a_day_is_covered_once_the_watermark_has_entered_it():
    assert covered_days(reversed(DAYS), MIDNIGHT - US) == DAYS[:1]
    assert covered_days(DAYS, MIDNIGHT) == DAYS[:2]
    assert covered_days(DAYS, datetime(2027, 1, 1, tzinfo=UTC)) == DAYS


def test_a_day_is_closed_once_nothing_more_can_land_in_it_in_time():
    assert closed_days(DAYS, MIDNIGHT - 2 * US) == []
    assert closed_days(DAYS, MIDNIGHT - US) == DAYS[:1]
    assert closed_days(DAYS, MIDNIGHT) == DAYS[:1]


def batch(number: int, after: str | None, to: str) -> Batch:
    return Batch(f"feed-{number:010d}", after, to, MIDNIGHT, 1, is_done=True)


def test_batches_that_tile_have_no_gaps():
    assert gaps_in([]) == []
    assert gaps_in([batch(1, None, "05"), batch(2, "05", "05"), batch(3, "05", "09")]) == []


def test_a_hole_and_an_overlap_are_told_apart():
    landed = [batch(1, None, "05"), batch(2, "07", "09"), batch(3, "08", "12")]
    assert gaps_in(landed) == [
        Gap("feed-0000000002", "05", "07", overlaps=False),
        Gap("feed-0000000003", "09", "08", overlaps=True),
    ]


def test_a_feed_that_does_not_begin_at_its_start_has_a_gap():
    assert gaps_in([batch(1, "03", "05")]) == [Gap("feed-0000000001", None, "03", overlaps=False)]
    assert gaps_in([batch(1, "03", "05")], start="03") == []
