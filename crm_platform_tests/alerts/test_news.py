"""What a target is told: once, grouped, capped, and again when it is well; bounded whatever fails."""

from datetime import UTC, datetime, timedelta

from crm_platform.alerts import Ledger, Problem, attempted, delivered, is_due, lines, with_news

T = datetime(2026, 3, 4, 3, tzinfo=UTC)


def problem(subject, place="", kind="check_failed", since=T):
    return Problem(
        kind=kind,
        subject=subject,
        place=place,
        since=since,
        how_much="3 of 100 rows",
        section="contract",
        command=f"check --from {place} --to {place}" if place else "check",
    )


def held(*problems):
    return {one.key: one for one in problems}


def news(ledger, open_, now=T, muted=()):
    return with_news(ledger, open_, muted, now, target="on-call", runbook="docs/runbook.md")


def test_many_problems_are_one_message_grouped_by_subject():
    days = [f"2026-03-{day:02}" for day in range(1, 8)]
    message = news(Ledger(), held(*(problem("history/lead contract", day) for day in days), problem("x y"))).pending
    assert message.title == "crm_platform: 2 wrong"
    assert lines(message) == [
        (
            "check_failed: history/lead contract on 2026-03-01, 2026-03-02, 2026-03-03, 2026-03-04, 2026-03-05 and 2 more "
            "(2026-03-01: 3 of 100 rows), since 2026-03-04 03:00 UTC. See docs/runbook.md#contract. "
            "Then: check --from 2026-03-01 --to 2026-03-07"
        ),
        ("check_failed: x y (3 of 100 rows), since 2026-03-04 03:00 UTC. See docs/runbook.md#contract. Then: check"),
    ]


def test_what_may_be_the_cause_is_named_before_what_follows_from_it():
    kinds = ["backfill_failed", "check_failed", "partition_late", "run_failed", "run_stuck", "sensor_failing"]
    message = news(Ledger(), held(*(problem("s", kind=kind) for kind in kinds))).pending
    assert [group.kind for group in message.wrong] == [
        "check_failed", "sensor_failing", "run_stuck", "run_failed", "backfill_failed", "partition_late",
    ]  # fmt: skip


def test_a_message_names_at_most_twenty_groups_and_says_how_many_more():
    message = news(Ledger(), held(*(problem(f"s{n:03}") for n in range(300)))).pending
    assert len(message.wrong) == 20
    assert lines(message)[-1] == "and 280 more; see crm-platform alerts list"


def test_what_was_told_is_not_told_again_and_is_told_when_well():
    told = delivered(news(Ledger(), held(problem("a"))))
    assert news(told, held(problem("a"))) == told
    well = news(told, held()).pending
    assert lines(well) == ["well again: check_failed: a, open since 2026-03-04 03:00 UTC"]
    assert news(delivered(news(told, held())), held()).pending is None


def test_nothing_is_queued_while_a_message_is_on_its_way_and_then_all_that_changed_is_one():
    waiting = news(Ledger(), held(problem("a")))
    assert news(waiting, held(problem("a"), problem("b"), problem("c"))) == waiting
    after = news(delivered(waiting), held(problem("b"), problem("c"))).pending
    assert [group.subject for group in after.wrong] == ["b", "c"]
    assert [group.subject for group in after.well] == ["a"]


def test_what_is_muted_is_told_when_the_mute_is_over():
    one = problem("a")
    assert news(Ledger(), held(one), muted={one.key}).pending is None
    assert news(Ledger(), held(one)).pending is not None


def test_something_that_flaps_for_a_day_makes_at_most_twenty_messages_an_hour():
    ledger, sent = Ledger(), 0
    for number in range(2880):  # a tick every 30 seconds for a day
        now = T + timedelta(seconds=30 * number)
        ledger = news(ledger, held(problem("a")) if number % 2 == 0 else held(), now)
        if ledger.pending is not None:
            sent, ledger = sent + 1, delivered(ledger)
    assert sent == 480  # 24 hours of 20


def test_a_target_that_is_down_for_a_month_is_asked_at_most_once_an_hour_and_keeps_one_message():
    ledger, attempts = news(Ledger(), held(problem("a"))), 0
    for minute in range(30 * 24 * 60):
        now = T + timedelta(minutes=minute)
        ledger = news(ledger, held(problem("a"), problem(f"b{minute}")), now)
        if is_due(ledger, now):
            attempts, ledger = attempts + 1, attempted(ledger, now)
    assert attempts == 726  # at minutes 0, 1, 2, 4, 8, 16, 32 and 64, then hourly
    assert len(ledger.told) == 1
    assert ledger.pending.attempts == 726


def test_a_failed_run_that_lapsed_is_not_called_well():
    told = delivered(news(Ledger(), held(problem("job", kind="run_failed"))))
    assert news(told, held(), T + timedelta(days=7, seconds=1)).pending is None
