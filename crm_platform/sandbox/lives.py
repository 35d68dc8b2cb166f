"""What can happen to a row of any object: it is entered, edited, binned, deleted for good, taken out of the bin.

When and to which rows it happens is decided in `companies` and `pipeline`.
"""

import numpy as np

from crm_platform.sandbox.journal import Ints
from crm_platform.sandbox.world import DAY, GONE, LIVING, SOFT_DELETED, Chance, Day, Stamps, World

ADMIN = 0


def enter(
    world: World,
    of: str,
    rows: Ints,
    stamps: Stamps,
    *,
    order: Ints | int = 1,
    origin: str = "screen",
) -> None:
    """Writes the creation of rows that are already in their table."""
    by = rows if of == "owner" else world[of]["owner_id"][rows]
    world.journal.write(
        *(of, "create", rows),
        event=stamps.event,
        commit=stamps.commit,
        txn=stamps.txn,
        order=order,
        fields=world.image(of, rows) | {"modified_at": stamps.event},
        by=by,
        origin=origin,
    )


def edit(
    world: World,
    day: Day,
    of: str,
    rows: Ints,
    names: tuple[str, ...],
    *,
    commit: Ints | None = None,
    event: Ints | None = None,
    origin: str = "screen",
) -> None:
    """Writes the named columns of some rows as they now stand; at a moment of the day, unless one is given."""
    held = world[of]
    commit = day.moments(len(rows)) if commit is None else commit
    event = day.before(commit) if event is None else event
    fields: dict[str, Ints | int] = {name: held[name][rows] for name in names}
    by = rows if of == "owner" else held["owner_id"][rows]
    fields["modified_at"] = event
    world.journal.write(of, "update", rows, event=event, commit=commit, fields=fields, by=by, origin=origin)


def sometimes_backdated(day: Day, commit: Ints, created: Ints, share: float) -> Ints:
    """Edit times of which a share claims to be days older than its commit."""
    claimed = day.rng.random(len(commit)) < share
    return np.where(claimed, day.backdated(commit, created), day.before(commit))


def bury(world: World, day: Day, of: str, soft: Ints, hard: Ints) -> None:
    """Deletes: some into the bin, some for good; the fault `hidden_deletes` hides the latter from the feed."""
    held = world[of]
    commit = day.moments(len(soft))
    world.journal.write(of, "delete", soft, event=day.before(commit), commit=commit, by=held["owner_id"][soft])
    held["life"][soft] = SOFT_DELETED
    commit = day.moments(len(hard))
    fault = world.faults.hidden_deletes
    hidden = (day.rng.random(len(hard)) < fault.share).astype(np.int64) if fault else 0
    event = day.before(commit)
    world.journal.write(
        *(of, "delete", hard), event=event, commit=commit, hidden=hidden, hard=1, by=ADMIN, origin="automation"
    )
    held["life"][hard] = GONE
    held["since"][np.concatenate([soft, hard])] = day.start + DAY


def revive(world: World, day: Day, of: str, among: Ints, chance: Chance) -> None:
    """Brings some rows back to life, as they were."""
    held = world[of]
    (back,) = day.dealt(among, chance)
    commit = day.moments(len(back))
    event = day.before(commit)
    fields = world.image(of, back) | {"modified_at": event}
    world.journal.write(of, "undelete", back, event=event, commit=commit, fields=fields, by=ADMIN)
    held["life"][back] = LIVING
    held["since"][back] = event


def binned(world: World, day: Day, of: str) -> Ints:
    """What has lain in the bin since yesterday or longer."""
    held = world[of]
    return np.flatnonzero((held["life"] == SOFT_DELETED) & (held["since"] <= day.start))
