"""How a run takes the slot of a pool: one at a time. Why Dagster's way is replaced stands in `waiting`.

Apart from it because what keeps an event log in a database takes longer to import than all the definitions, and only runs need it.
"""

from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import ConcurrencySlotsTable
from dagster._utils.concurrency import ConcurrencySlotStatus


def mend_slots() -> None:
    """Makes the runs of this process take only slots that are free."""
    SqlEventLogStorage._claim_concurrency_slot = claimed  # noqa: SLF001  there is no other way in


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
