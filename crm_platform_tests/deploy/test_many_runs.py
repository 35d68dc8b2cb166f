"""Runs of the production instance at once, on a real PostgreSQL: all succeed, nothing is lost, no pool stays taken."""

import datetime as dt
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy
from click.testing import CliRunner
from dagster._core.storage.event_log import sql_event_log
from dagster._utils.concurrency import ConcurrencySlotStatus

from crm_platform.cli import main
from crm_platform.defs.jobs import EVERYTHING
from crm_platform.defs.slots import asked, claimed
from crm_platform.lake import Lake
from crm_platform_tests.defs.test_waiting import as_installed
from crm_platform_tests.deploy.many import run_all, run_until
from crm_platform_tests.deploy.postgres import postgres_running
from crm_platform_tests.deploy.test_postgres import failures, on_postgres
from crm_platform_tests.pipeline import FIRST, contents, run_days, sandbox_at, settings_in

REPOSITORY = Path(__file__).parents[2]
DAYS, RUNS = 4, 20
LAST = FIRST + dt.timedelta(days=DAYS - 1)


@pytest.fixture(scope="module")
def crm(tmp_path_factory):
    """The address of a CRM, and what one run of its feed, then one of everything, makes of it."""
    folder = tmp_path_factory.mktemp("alone")
    with sandbox_at(folder / "sandbox", days=DAYS, accounts=10) as base_url:
        alone = settings_in(folder, base_url, DAYS)
        found = []
        for build in (
            lambda: run_until(alone.folder / "crm_platform.yaml", LAST) == [],
            lambda: run_days(alone, FIRST, LAST, job=EVERYTHING),
        ):
            assert build()
            found.append(held(alone.folder))
        yield base_url, *found


@pytest.fixture
def served(crm, tmp_path):
    """Settings on an empty lake and an instance on PostgreSQL that was prepared."""
    with pytest.MonkeyPatch.context() as patch, postgres_running() as variables:
        for name, value in variables.items():
            patch.setenv(name, value)
        config = on_postgres(tmp_path, crm[0], DAYS)
        prepared = CliRunner().invoke(main, ["prepare", "--config", str(config)])
        assert prepared.exit_code == 0, prepared.output
        yield config


def held(folder):
    """What a lake holds; how the feed was cut into batches aside, which depends on who came first."""
    found = contents(Lake(folder / "lake"), without=("_batch_id",))
    return {table: content for table, content in found.items() if table != "landing/ranges"}


def taken(instance):
    """The pools that somebody still holds or waits for."""
    infos = instance.event_log_storage.get_concurrency_infos(
        [pool.name for pool in instance.event_log_storage.get_pool_limits()]
    )
    return [name for name, told in infos.items() if told.claimed_slots or told.pending_steps]


def slots_given(claim, storage):
    """How many of two runs are given the one slot of a pool, the second one asking while the first is about to take it."""
    first_has_seen_it, second_is_done = threading.Event(), threading.Event()

    def before(_connection, _cursor, statement, *_):
        if statement.startswith("UPDATE concurrency_slots") and not first_has_seen_it.is_set():
            first_has_seen_it.set()
            assert second_is_done.wait(timeout=30)

    storage.set_concurrency_slots("one", 1)
    sqlalchemy.event.listen(storage._engine, "before_cursor_execute", before)
    try:
        with ThreadPoolExecutor(1) as thread:
            first = thread.submit(claim, storage, "one", "first", "step")
            assert first_has_seen_it.wait(timeout=30)
            second = claim(storage, "one", "second", "step")
            second_is_done.set()
            return [first.result(), second].count(ConcurrencySlotStatus.CLAIMED)
    finally:
        sqlalchemy.event.remove(storage._engine, "before_cursor_execute", before)
        storage.delete_concurrency_limit("one")


def asks_until_given(ask, storage, times=3):
    """After how many asks a run is given a slot that came free just before the run stood in the queue; None for never."""

    def before(_connection, _cursor, statement, *_):
        if statement.startswith("INSERT INTO pending_steps") and taken_by_first:
            taken_by_first.clear()
            storage.free_concurrency_slot_for_step("first", "step")

    storage.set_concurrency_slots("one", 1)
    taken_by_first = [ask(storage, "one", "first", "step").is_claimed]
    assert taken_by_first == [True]
    sqlalchemy.event.listen(storage._engine, "before_cursor_execute", before)
    try:
        given = (ask(storage, "one", "second", "step").is_claimed for _ in range(times))
        return next((asks for asks, is_given in enumerate(given, 1) if is_given), None)
    finally:
        assert taken_by_first == []
        sqlalchemy.event.remove(storage._engine, "before_cursor_execute", before)
        storage.free_concurrency_slots_for_run("second")
        storage.delete_concurrency_limit("one")


@pytest.mark.usefixtures("served")
def test_dagster_gives_the_one_slot_of_a_pool_to_two_runs_that_ask_at_the_same_instant_and_ours_does_not():
    """Why `slots.claimed` is there; when the first half fails, Dagster has mended it, and it may go."""
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        assert slots_given(as_installed(sql_event_log).SqlEventLogStorage._claim_concurrency_slot, storage) == 2
        assert slots_given(claimed, storage) == 1


@pytest.mark.usefixtures("served")
def test_dagster_never_gives_a_slot_that_came_free_while_a_run_began_to_wait_and_ours_does():
    """Why `slots.asked` is there; when the first half fails, Dagster has mended it, and it may go."""
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        assert asks_until_given(as_installed(sql_event_log).SqlEventLogStorage.claim_concurrency_slot, storage) is None
        assert asks_until_given(asked, storage) == 1


def test_twenty_runs_at_once_over_days_that_overlap_leave_what_one_leaves(crm, served):
    assert run_all(served, [LAST - dt.timedelta(days=number % DAYS) for number in range(RUNS)]) == []
    with dg.DagsterInstance.get() as instance:
        records = instance.get_run_records()
        assert [one.dagster_run.status.value for one in records] == ["SUCCESS"] * RUNS
        assert max(one.start_time for one in records) < min(one.end_time for one in records)
        assert taken(instance) == []
    assert held(served.parent) == crm[1]


def test_two_runs_of_everything_at_once_both_succeed(crm, served):
    command = [sys.executable, "-m", "crm_platform_tests.pipeline", str(served)]
    started = [subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL) for _ in range(2)]
    try:
        codes = [one.wait(timeout=300) for one in started]
    finally:
        for one in started:
            one.kill()
            one.wait()
    with dg.DagsterInstance.get() as instance:
        assert failures(instance) == []
        assert codes == [0, 0]
        first, second = instance.get_run_records()
        assert max(first.start_time, second.start_time) < min(first.end_time, second.end_time)
        assert taken(instance) == []
    assert held(served.parent) == crm[2]
