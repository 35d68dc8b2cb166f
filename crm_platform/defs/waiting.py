"""How runs wait for a pool and get it: asleep, one at a time, and for sure.

Three faults of Dagster 1.13 are mended, by replacing methods (ADR 18); nothing else of Dagster is changed, here or
elsewhere. It never sleeps while it waits: a waiting run keeps a core busy, and runs that share a process keep each other from
working. Two runs that ask at the same instant may both be given the one slot of a table. And a run that begins to wait in the
instant in which the slot comes free waits for ever. `slots` mends the latter two.
"""

import time

import dagster as dg
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext

AS_DAGSTER_BEGINS = InstanceConcurrencyContext.__init__
AT_LEAST_EVERY = 1.0
"""Seconds after which a run that waits asks again, so that a table changes hands soon after it is free."""


def mend_pools() -> None:
    """Makes the runs of this process wait asleep, and be given a slot that is free, before the first one starts."""
    InstanceConcurrencyContext.interval_to_next_pending_claim_check = until_next_claim
    InstanceConcurrencyContext.__init__ = begun


def begun(self: InstanceConcurrencyContext, instance: dg.DagsterInstance, dagster_run: dg.DagsterRun) -> None:
    """Begins as Dagster does to claim the slots of a run, which are asked for and taken by `slots` from here on."""
    from crm_platform.defs.slots import mend_slots  # noqa: PLC0415  long to import, and only runs need it

    mend_slots()
    AS_DAGSTER_BEGINS(self, instance, dagster_run)


def until_next_claim(self: InstanceConcurrencyContext) -> float:
    """Seconds until the first of the pools that are waited for is asked again: a second at most.

    Dagster takes the least of this and zero, and asks ever more rarely, up to every fifteen seconds.
    """
    soon = time.time() + AT_LEAST_EVERY
    for step, moment in self._pending_timeouts.items():
        self._pending_timeouts[step] = min(moment, soon)
    return max(0.0, min(self._pending_timeouts.values(), default=0.0) - time.time())
