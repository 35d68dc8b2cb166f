"""Runs that wait for a pool: they sleep, and what they wait for is theirs soon after it is free."""

import importlib.util
import threading
import time
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.execution.plan import instance_concurrency_context

from crm_platform.defs.waiting import mend_pools

NOW = 1_000_000.0


def as_installed(module):
    """A module of Dagster as it is on disk, whatever was done to the one in use."""
    spec = importlib.util.find_spec(module.__name__)
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    return fresh


def waiting(**until):
    return SimpleNamespace(_pending_claims=set(until), _pending_timeouts=until)


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: NOW)


@pytest.mark.usefixtures("clock")
def test_dagster_never_sleeps_while_it_waits_for_a_pool():
    """Why `until_next_claim` is there; when this fails, Dagster has mended it, and it may go."""
    asked = as_installed(instance_concurrency_context).InstanceConcurrencyContext.interval_to_next_pending_claim_check
    assert asked(waiting(lead=NOW + 5, account=NOW + 3)) == 0


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("until", "seconds"),
    [({"lead": NOW + 5, "account": NOW + 0.5}, 0.5), ({"lead": NOW + 15}, 1.0), ({"lead": NOW - 2}, 0.0), ({}, 0.0)],
)
def test_ours_sleeps_until_the_first_pool_is_asked_again_a_second_at_most(until, seconds):
    mend_pools()
    asked = instance_concurrency_context.InstanceConcurrencyContext.interval_to_next_pending_claim_check
    pools = waiting(**until)
    assert asked(pools) == seconds
    assert all(moment <= NOW + 1 for moment in pools._pending_timeouts.values())


def test_a_run_that_waits_for_another_costs_next_to_no_processor_time(tmp_path):
    mend_pools()
    busy = threading.Event()

    @dg.asset(pool="one")
    def table() -> None:
        busy.set()
        time.sleep(3)

    job = dg.Definitions(assets=[table], executor=dg.in_process_executor).resolve_implicit_global_asset_job_def()
    quiet = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
    settings = {"concurrency": {"pools": {"default_limit": 1}}, "compute_logs": quiet}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=settings) as instance:
        instance.event_log_storage.initialize_concurrency_limit_to_default("one")
        first = threading.Thread(target=job.execute_in_process, kwargs={"instance": instance})
        first.start()
        busy.wait()
        begun, used = time.monotonic(), time.process_time()
        assert job.execute_in_process(instance=instance).success
        took, used = time.monotonic() - begun, time.process_time() - used
        first.join()
    assert used < took / 2
