"""How runs wait for a pool and get it: asleep, and one at a time.

Two faults of Dagster 1.13 are mended, by replacing a method each (ADR 18); nothing else of Dagster is changed, here or
elsewhere. It never sleeps while it waits: a waiting run keeps a core busy, and runs that share a process keep each other from
working. And two runs that ask at the same instant may both be given the one slot of a table.
"""

import time

from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import ConcurrencySlotsTable
from dagster._utils.concurrency import ConcurrencySlotStatus

AT_LEAST_EVERY = 1.0
"""Seconds after which a run that waits asks again, so that a table changes hands soon after it is free."""


def mend_pools() -> None:
    """Makes the runs of this process wait asleep, and take only slots that are free; before the first one starts."""
    InstanceConcurrencyContext.interval_to_next_pending_claim_check = until_next_claim
    SqlEventLogStorage._claim_concurrency_slot = claimed  # noqa: SLF001  there is no other way in


def until_next_claim(self: InstanceConcurrencyContext) -> float:
    """Seconds until the first of the pools that are waited for is asked again: a second at most.

    Dagster takes the least of this and zero, and asks ever more rarely, up to every fifteen seconds.
    """
    soon = time.time() + AT_LEAST_EVERY
    for step, moment in self._pending_timeouts.items():
        self._pending_timeouts[step] = min(moment, soon)
    return max(0.0, min(self._pending_timeouts.values(), default=0.0) - time.time())


def claimed(
    self: SqlEventLogStorage, concurrency_key: str, run_id: str, step_key: str
) -> ConcurrencySlotStatus:  # fmt: skip
    """Takes a free slot of a pool for a step, if there still is one when it is taken.

    Dagster looks for a free slot under a lock, and on Postgres gives the lock back before it takes the slot, whoever has taken
    it in between.
    """
    slots = ConcurrencySlotsTable
    is_free = (
        slots.c.concurrency_key == concurrency_key,
        slots.c.step_key.is_(None),
        slots.c.deleted.is_(False),
    )
    with self.index_connection() as connection:
        found = connection.execute(slots.select().where(*is_free).limit(1)).mappings().first()
        if found is None:
            return ConcurrencySlotStatus.BLOCKED
        mine = slots.update().values(run_id=run_id, step_key=step_key).where(slots.c.id == found["id"], *is_free)
        is_mine = connection.execute(mine).rowcount == 1
    return ConcurrencySlotStatus.CLAIMED if is_mine else ConcurrencySlotStatus.BLOCKED
