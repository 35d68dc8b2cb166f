"""How contacts change from day to day: entered, edited, moved to other accounts, deleted, merged into a third one.

Their accounts stand in `companies`.
"""

import numpy as np

from crm_platform.sandbox.journal import NULL, SECOND, Ints
from crm_platform.sandbox.lives import ADMIN, binned, bury, edit, enter, revive
from crm_platform.sandbox.vocabulary import TITLE
from crm_platform.sandbox.world import HOUR, LIVING, MERGED, Day, Stamps, World


def enter_contacts(
    world: World, day: Day, account: Ints, stamps: Stamps, *, order: Ints | int = 1, origin: str = "screen"
) -> Ints:
    """Creates one contact per stamp at the given accounts."""
    contacts, count = world.contacts, len(stamps)
    new = contacts.add(
        count,
        code=day.code(count),
        phone=day.code(count),
        title=day.some(count, len(TITLE)),
        account_id=account,
        owner_id=world.accounts["owner_id"][account],
        merged_ids=NULL,
        since=stamps.event,
    )
    world.accounts["contact"][account] = new
    enter(world, "contact", new, stamps, order=order, origin=origin)
    return new


def people_change(world: World, day: Day) -> None:
    """Adds, edits, deletes, restores and merges contacts."""
    held = world.contacts
    hosts = world.accounts.settled(day.start)
    old = held.settled(day.start)
    resting = binned(world, day, "contact")
    more = world.faults.merge_styles.more if world.faults.merge_styles else 1
    rates = (0.004, 0.003, 0.001, 0.0006, 0.0002, 0.0008 * more)
    titles, phones, moves, soft, hard, merging = lots = day.dealt(old, *(rate * day.pace for rate in rates))
    held["title"][titles] = day.some(len(titles), len(TITLE))
    edit(world, day, "contact", titles, ("title",))
    held["phone"][phones] = np.where(day.rng.random(len(phones)) < 0.3, NULL, day.code(len(phones)))  # noqa: PLR2004
    edit(world, day, "contact", phones, ("phone",))
    if len(hosts):
        held["account_id"][moves] = day.rng.choice(hosts, len(moves))
    edit(world, day, "contact", moves, ("account_id",))
    bury(world, day, "contact", soft, hard)
    _merge(world, day, merging, old[~np.isin(old, np.concatenate(lots))])
    ties = world.faults.timestamp_ties
    if ties and day.number == ties.day:
        _bulk_edit(world, day, old[held["life"][old] == LIVING][: ties.rows])
    revive(world, day, "contact", resting, 0.06 * day.pace)
    (joined,) = day.dealt(hosts, 0.006 * day.pace)
    enter_contacts(world, day, joined, day.stamps(world.journal, len(joined)))


def _merge(world: World, day: Day, ones: Ints, untouched: Ints) -> None:
    """Merges contacts HubSpot's way: a third one is born that lists all it came from, and the two are closed."""
    held, journal = world.contacts, world.journal
    pairs = min(len(ones), len(untouched))
    ones, others = ones[:pairs], _partners(world, day, pairs, untouched)
    stamps = day.stamps(journal, pairs)
    lists = [_ancestry(world, int(a)) + _ancestry(world, int(b)) for a, b in zip(ones, others, strict=True)]
    new = held.add(
        pairs,
        **{name: held[name][ones] for name in ("code", "phone", "title", "account_id", "owner_id")},
        merged_ids=np.array([journal.listed(ids) for ids in lists], np.int64),
        since=stamps.event,
    )
    enter(world, "contact", new, stamps)
    hidden = int(world.faults.merge_styles is not None)
    for order, losers in ((2, ones), (3, others)):
        by = held["owner_id"][new]
        journal.write(
            *("contact", "delete", losers),
            event=stamps.event,
            commit=stamps.commit,
            txn=stamps.txn,
            order=order,
            hidden=hidden,
            by=by,
        )
        held["life"][losers] = MERGED


def _partners(world: World, day: Day, pairs: int, untouched: Ints) -> Ints:
    """Whom contacts are merged with: every third with one that came from a merge itself, so that chains occur."""
    merged = untouched[world.contacts["merged_ids"][untouched] != NULL]
    chained = day.rng.permutation(merged)[: -(-pairs // 3)]
    rest = day.rng.permutation(untouched[~np.isin(untouched, chained)])
    return np.concatenate([chained, rest])[:pairs]


def _ancestry(world: World, contact: int) -> list[int]:
    listed = world.contacts["merged_ids"][contact]
    return [*([] if listed == NULL else world.journal.id_lists[listed]), contact]


def _bulk_edit(world: World, day: Day, rows: Ints) -> None:
    """A job gives many contacts a new owner at one edit time, in one transaction."""
    heir = int(day.rng.choice(world.active_owners()))
    at = np.full(len(rows), day.start + 22 * HOUR, np.int64)
    world.contacts["owner_id"][rows] = heir
    world.journal.write(
        *("contact", "update", rows),
        event=at,
        commit=at + SECOND,
        txn=np.full(len(rows), world.journal.transactions(1)[0]),
        order=np.arange(len(rows)) + 1,
        fields={"owner_id": heir, "modified_at": at},
        by=ADMIN,
        origin="automation",
    )
