"""A tick of the sensor that tells people: it asks Dagster, keeps what it learned, and makes what attempts are due.

It requests no run. What is open and what to say is decided in `crm_platform.alerts`; the sensor stands in `alerts_sensor`.
"""

import datetime as dt
from collections.abc import Mapping

import dagster as dg

from crm_platform import alerts
from crm_platform.alerts import (
    AlertSettings,
    Book,
    Message,
    after_checks,
    after_runs,
    as_observed,
    attempted,
    delivered,
    is_due,
    keep_book,
    lines,
    load_book,
    muted,
    mutes,
    with_news,
)
from crm_platform.alerts.problems import BACKFILL_FAILED, PARTITION_LATE, RUN_FAILED, RUN_STUCK, SENSOR_FAILING
from crm_platform.defs.alerts_sensor import ALERTS
from crm_platform.defs.asked import (
    OVERLAP,
    RUNS_AT_ONCE,
    ended,
    ended_runs,
    evaluations,
    failing_sensors,
    is_news,
    late_partitions,
    newest_end,
    stuck_runs,
)
from crm_platform.defs.backfilled import given_up_backfills, unmended
from crm_platform.defs.platform import Platform
from crm_platform.lake import Lake

LOG = "log"
"""The target that is always there: the tick's own log."""


def tick(
    context: dg.SensorEvaluationContext,
    platform: Platform,
    settings: AlertSettings,
    *,
    now: dt.datetime,
    environment: Mapping[str, str],
    runbook: str,
) -> str:
    """Looks, keeps the book with every attempt counted, and only then makes the attempts; says what was told.

    A kill before the book is kept changes nothing; one after it costs a pause and, at worst, a message twice under one id.
    """
    lake = platform.lake()
    kept = load_book(lake)
    looked = _looked(context, platform=platform, lake=lake, settings=settings, kept=kept, now=now)
    book = _queued(looked, lake, settings, now=now, runbook=runbook)
    due = {name: ledger for name, ledger in book.ledgers.items() if is_due(ledger, now)}
    tried = {name: attempted(ledger, now) for name, ledger in due.items()}
    book = book.model_copy(update={"ledgers": {**book.ledgers, **tried}})
    if book != kept:
        keep_book(lake, book)
    arrived = {
        name: delivered(ledger, left_out)
        for name, ledger in tried.items()
        if ledger.pending is not None
        and (left_out := _sent(context, settings, name, ledger.pending, environment)) is not None
    }
    if arrived:
        keep_book(lake, book.model_copy(update={"ledgers": {**book.ledgers, **arrived}}))
    said = due[LOG].pending if LOG in due else None
    if kept.read_to is None and said is None:
        return "From now on what goes wrong is told."
    return "; ".join(lines(said)) if said is not None else "Nothing new since the last tick."


def _looked(
    context: dg.SensorEvaluationContext,
    *,
    platform: Platform,
    lake: Lake,
    settings: AlertSettings,
    kept: Book,
    now: dt.datetime,
) -> Book:
    """The book with everything that Dagster says by now."""
    instance = context.instance
    book = _begun(instance) if kept.read_to is None else _read(instance, kept)
    given_up = {problem.key: problem for problem in given_up_backfills(instance, kept.read_to or now)}
    backfills = given_up | {key: problem for key, problem in book.open.items() if problem.kind == BACKFILL_FAILED}
    observed = {
        RUN_FAILED: unmended(instance, [problem for problem in book.problems if problem.kind == RUN_FAILED]),
        BACKFILL_FAILED: unmended(instance, backfills.values()),
        RUN_STUCK: stuck_runs(instance, now, dt.timedelta(minutes=settings.stuck_after_minutes)),
        SENSOR_FAILING: failing_sensors(instance, ALERTS),
        PARTITION_LATE: late_partitions(context, platform, lake, now, dt.timedelta(hours=settings.late_after_hours)),
    }
    held = as_observed(book.open, observed, now)
    return book.model_copy(update={"problems": tuple(problem for _, problem in sorted(held.items()))})


def _begun(instance: dg.DagsterInstance) -> Book:
    """A book that reads runs from now on."""
    newest = newest_end(instance)
    known = ended_runs(instance, newest, ())
    return Book(read_to=newest, seen={run.dagster_run.run_id: run.update_timestamp for run in known})


def _read(instance: dg.DagsterInstance, book: Book) -> Book:
    """The book with the runs that ended since it was kept, fifty at most."""
    read_to = book.read_to or newest_end(instance)
    records = ended_runs(instance, read_to, book.seen)[:RUNS_AT_ONCE]
    if not records:
        return book
    fresh = [record for record in records if is_news(record, read_to)]
    said = [one for record in fresh for one in evaluations(instance, record.dagster_run.run_id)]
    ends = [end for record in fresh if (end := ended(instance, record)) is not None]
    held = after_runs(after_checks(book.open, said), ends)
    reached = max(read_to, records[-1].update_timestamp)
    touched = {**book.seen, **{record.dagster_run.run_id: record.update_timestamp for record in records}}
    seen = {run_id: moment for run_id, moment in touched.items() if moment > reached - OVERLAP}
    return Book(
        read_to=reached,
        seen=seen,
        problems=tuple(p for _, p in sorted(held.items())),
        ledgers=book.ledgers,
    )


def _queued(book: Book, lake: Lake, settings: AlertSettings, *, now: dt.datetime, runbook: str) -> Book:
    """The book with a message for every target that there is news for; targets that are configured no more are forgotten."""
    hidden = muted(book.open, mutes(lake, now))
    names = [LOG, *(target.name for target in settings.targets)]
    ledgers = {
        name: with_news(book.ledger(name), book.open, hidden, now, target=name, runbook=runbook) for name in names
    }
    return book.model_copy(update={"ledgers": ledgers})


def _sent(
    context: dg.SensorEvaluationContext,
    settings: AlertSettings,
    name: str,
    message: Message,
    environment: Mapping[str, str],
) -> str | None:
    """Makes one attempt, and says who was left out; None for one that failed: it is logged, and tried again when it is due."""
    if name == LOG:
        for line in lines(message):
            context.log.error(line)
        return ""
    target = next(one for one in settings.targets if one.name == name)
    try:
        left_out = alerts.send(target, message, environment)
    except alerts.TargetError as failure:
        context.log.warning(str(failure))
        return None
    if left_out:
        context.log.warning(left_out)
    return left_out
