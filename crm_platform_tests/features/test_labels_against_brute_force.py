"""Labels of random lives, against plain loops that read the definition literally and share no code with ours."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_platform.contracts import UTC_US
from crm_platform.features.labels import Conversion, label_conversions

START = datetime(2026, 3, 1, tzinfo=UTC)
STATUSES = ("new", "working", "converted", None)
TICK = timedelta(hours=6)
VERSIONS = {
    "entity_id": pl.String,
    "event_time": UTC_US,
    "processed_time": UTC_US,
    "source_position": pl.String,
    "is_tombstone": pl.Boolean,
    "changed_fields": pl.List(pl.String),
    "status": pl.String,
}

ticks = st.integers(0, 12)
versions = st.lists(
    st.tuples(
        st.sampled_from(["L1", "L2"]),
        ticks,
        ticks,
        st.sampled_from([None, ["status"], ["owner_id"], ["owner_id", "status"]]),
        st.sampled_from(STATUSES),
        st.booleans(),
    ),
    max_size=8,
)
questions = st.lists(st.tuples(st.sampled_from(["L1", "L2", "L3"]), ticks), min_size=1, max_size=4)


def moment(tick):
    return START + tick * TICK


def as_row(position, drawn):
    entity, event, processed, changed, status, is_tombstone = drawn
    writes = not is_tombstone and (changed is None or "status" in changed)
    changed = [] if is_tombstone else changed
    return entity, moment(event), moment(processed), f"{position:03}", is_tombstone, changed, status if writes else None


def expected(rows, entity, as_of, horizon, grace):
    """Writes the known versions one after another, in version order, and looks at each change of the status."""
    read_at = as_of + horizon + grace
    known = sorted(row[1:4] + row[4:] for row in rows if row[0] == entity and max(row[1], row[2]) <= read_at)
    status, found = "nothing yet", []
    for event, _, _, is_tombstone, changed, value in known:
        if is_tombstone or (changed is not None and "status" not in changed):
            continue
        if value == "converted" and status != "converted" and as_of < event <= as_of + horizon:
            found.append(event)
        status = value
    return bool(found), min(found, default=None)


@settings(max_examples=80, deadline=None)
@given(versions, questions, st.integers(1, 6), st.integers(0, 3), st.randoms(use_true_random=False))
def test_labels_are_what_the_definition_says_whatever_the_order_of_delivery(drawn, asked, horizon, grace, shuffler):
    rows = [as_row(position, one) for position, one in enumerate(drawn)]
    delivered = [*rows, *rows[:2]]
    shuffler.shuffle(delivered)
    outcome = Conversion("status", "converted", horizon * TICK, grace * TICK)
    spine = pl.DataFrame(
        [(entity, moment(tick)) for entity, tick in asked], {"entity_id": pl.String, "as_of": UTC_US}, orient="row"
    )
    found = label_conversions(
        spine, pl.LazyFrame(delivered, VERSIONS, orient="row"), outcome, watermark=moment(12 + 6 + 3)
    )
    answers = [expected(rows, entity, moment(tick), horizon * TICK, grace * TICK) for entity, tick in asked]
    assert found.select("label", "label_event_time").rows() == answers
