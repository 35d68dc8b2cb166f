"""How a run takes the slot of a pool: one at a time, and never left waiting for a free one. `waiting` says why this is ours.

Apart from it because what keeps an event log in a database takes longer to import than all the definitions, and only runs need it.
"""

from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import ConcurrencySlotsTable
from dagster._utils.concurrency import ConcurrencyClaimStatus, ConcurrencySlotStatus

AS_DAGSTER_ASKS = SqlEventLogStorage.claim_concurrency_slot


def mend_slots() -> None:
    """Makes the runs of this process take only slots that are free, and every free one that nobody is before them for."""
    SqlEventLogStorage.claim_concurrency_slot = asked
    SqlEventLogStorage._claim_concurrency_slot = claimed  # noqa: SLF001  there is no other way in


def asked(
    self: SqlEventLogStorage, concurrency_key: str, run_id: str, step_key: str, priority: int | None = None
) -> ConcurrencyClaimStatus:
    """Asks for a slot of a pool, and calls up the first of the queue if there is one that nobody was called up for.

    Dagster calls a step up when it begins to wait while a slot is free, or when another step gives its slot back. A slot that
    is given back after the one was asked and before the step stands in the queue calls up nobody, and is waited for for ever.
    """
    asked_for = (concurrency_key, run_id, step_key, priority)
    status = AS_DAGSTER_ASKS(self, *asked_for)
    if status.is_assigned or not self.has_unassigned_slots(concurrency_key):
        return status
    self.assign_pending_steps([concurrency_key])
    return AS_DAGSTER_ASKS(self, *asked_for)


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
