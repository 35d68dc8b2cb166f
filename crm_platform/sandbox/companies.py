"""How owners and accounts change from day to day: hired, entered, edited, deleted, merged and unmerged.

Their people stand in `people`, deals and leads in `pipeline`, what is done about them in `activities`.
"""

import numpy as np

from crm_platform.contracts import sandbox as model
from crm_platform.sandbox.journal import NULL, SECOND, Ints
from crm_platform.sandbox.lives import ADMIN, binned, bury, edit, enter, revive, sometimes_backdated
from crm_platform.sandbox.people import enter_contacts
from crm_platform.sandbox.world import DAY, HOUR, MERGED, MINUTE, Day, Stamps, World

IMPORTED = 0.6
IMPORT_TXN = 100
CONTACTS_PER_ACCOUNT = 2.2
HANDED_OVER_AT_ONCE = 500


def owners_change(world: World, day: Day) -> None:
    """Hires everybody on the first day; later people move, or leave and hand their accounts over."""
    owners = world.owners
    if day.number == 0:
        count = max(8, world.accounts_wanted // 20)
        at = np.full(count, day.start + MINUTE, np.int64)
        hired = owners.add(
            count, code=day.code(count), region=day.some(count, len(model.REGIONS)), is_active=1, since=at
        )
        txn = np.full(count, world.journal.transactions(1)[0])
        enter(world, "owner", hired, Stamps(at, at + SECOND, txn), order=hired + 1, origin="import")
        return
    moving, leaving = day.dealt(world.active_owners()[1:], 0.006 * day.pace, 0.0015 * day.pace)
    owners["region"][moving] = day.some(len(moving), len(model.REGIONS))
    edit(world, day, "owner", moving, ("region",))
    for leaver in leaving[:20]:
        _leave(world, day, int(leaver))


def _leave(world: World, day: Day, leaver: int) -> None:
    """One seller leaves; in the same transaction another takes over the accounts, all at one edit time."""
    owners, accounts = world.owners, world.accounts
    owners["is_active"][leaver] = 0
    heir = int(day.rng.choice(world.active_owners()))
    old = accounts.settled(day.start)
    handed = old[accounts["owner_id"][old] == leaver][:HANDED_OVER_AT_ONCE]
    commit = np.full(len(handed) + 1, day.start + 20 * HOUR + int(day.some(1, HOUR)[0]), np.int64)
    event = commit - SECOND
    txn = np.full(len(commit), world.journal.transactions(1)[0])
    world.journal.write(
        *("owner", "update", np.array([leaver])),
        event=event[:1],
        commit=commit[:1],
        txn=txn[:1],
        fields={"is_active": 0, "modified_at": event[:1]},
        by=ADMIN,
    )
    accounts["owner_id"][handed] = heir
    accounts["since"][handed] = commit[1:]
    world.journal.write(
        *("account", "update", handed),
        event=event[1:],
        commit=commit[1:],
        txn=txn[1:],
        order=np.arange(len(handed)) + 2,
        fields={"owner_id": heir, "modified_at": event[1:]},
        by=ADMIN,
        origin="automation",
    )


def companies_arrive(world: World, day: Day) -> None:
    """Enters accounts with their first contacts: an import on the first day, then a few a day."""
    if day.number == 0:
        count = max(1, round(IMPORTED * world.accounts_wanted))
        load = np.arange(count) // IMPORT_TXN
        commit = np.minimum(day.start + 5 * MINUTE + load * (100 * SECOND), day.start + 6 * HOUR + load)
        txn = world.journal.transactions(int(load[-1]) + 1)[load]
        enter_accounts(world, day, Stamps(commit - 2 * SECOND, commit, txn), origin="import")
        return
    count = day.count((1 - IMPORTED) * world.accounts_wanted / world.days * day.pace)
    enter_accounts(world, day, day.stamps(world.journal, count), origin="screen")


def enter_accounts(world: World, day: Day, stamps: Stamps, *, origin: str, people: bool = True) -> Ints:
    """Creates one account per stamp, and people of theirs in the same transactions."""
    accounts, count = world.accounts, len(stamps)
    new = accounts.add(
        count,
        name=day.code(count),
        phone=day.code(count),
        billing_address=day.code(count),
        industry=day.some(count, len(model.INDUSTRIES)),
        country=day.some(count, len(model.COUNTRIES)),
        tier=day.rng.choice(len(model.TIERS), count, p=[0.1, 0.3, 0.6]),
        employees=(10 * np.exp(day.rng.normal(2, 1.2, count))).astype(np.int64) + 1,
        annual_revenue=day.cents(count, 2_000_000),
        currency=day.rng.choice(len(model.CURRENCIES), count, p=[0.6, 0.3, 0.1]),
        owner_id=day.rng.choice(world.active_owners(), count),
        contact=NULL,
        since=stamps.event,
    )
    place = np.arange(count) % IMPORT_TXN * 8 + 1 if origin == "import" else np.ones(count, np.int64)
    enter(world, "account", new, stamps, order=place, origin=origin)
    if people:
        number = np.minimum(1 + day.rng.poisson(CONTACTS_PER_ACCOUNT - 1, count), 5)
        which = np.repeat(np.arange(count), number)
        nth = np.arange(len(which)) - np.repeat(np.cumsum(number) - number, number)
        enter_contacts(world, day, new[which], stamps.of(which), order=place[which] + 1 + nth, origin=origin)
    return new


def companies_change(world: World, day: Day) -> None:
    """Edits, deletes, restores and merges accounts that were there yesterday."""
    held = world.accounts
    old = held.settled(day.start)
    resting = binned(world, day, "account")
    merged = np.flatnonzero((held["life"] == MERGED) & (held["merged_at"] < day.start))
    merged = merged[held["merged_at"][merged] > day.start - 20 * DAY]
    more = world.faults.merge_styles.more if world.faults.merge_styles else 1
    rates = (0.008, 0.004, 0.004, 0.0015, 0.0004, 0.003 * more)
    sizes, tiers, phones, soft, hard, merging = lots = day.dealt(old, *(rate * day.pace for rate in rates))
    held["employees"][sizes] = (held["employees"][sizes] * day.rng.uniform(0.8, 1.4, len(sizes))).astype(np.int64) + 1
    held["annual_revenue"][sizes] = day.cents(len(sizes), 2_000_000)
    commit = day.moments(len(sizes))
    event = sometimes_backdated(day, commit, held["created"][sizes], 0.5)
    names = ("employees", "annual_revenue")
    edit(world, day, "account", sizes, names, commit=commit, event=event, origin="integration")
    held["tier"][tiers] = day.some(len(tiers), len(model.TIERS))
    held["owner_id"][tiers] = day.rng.choice(world.active_owners(), len(tiers))
    edit(world, day, "account", tiers, ("tier", "owner_id"))
    held["phone"][phones] = np.where(day.rng.random(len(phones)) < 0.3, NULL, day.code(len(phones)))  # noqa: PLR2004
    edit(world, day, "account", phones, ("phone",))
    bury(world, day, "account", soft, hard)
    _merge(world, day, merging, old[~np.isin(old, np.concatenate(lots))])
    revive(world, day, "account", resting, 0.06 * day.pace)
    revive(world, day, "account", merged, 0.03 * day.pace)


def _merge(world: World, day: Day, losers: Ints, untouched: Ints) -> None:
    """Merges accounts Salesforce's way: the loser points to the winner. Former winners lose, too: chains."""
    held = world.accounts
    former = day.rng.permutation(untouched[held["wins"][untouched] > 0])
    swapped = former[: int((day.rng.random(len(losers)) < 0.35).sum())]  # noqa: PLR2004
    untouched = untouched[~np.isin(untouched, swapped)]
    if not len(untouched):
        return
    losers = np.concatenate([losers[len(swapped) :], swapped])
    winners = day.rng.choice(untouched, len(losers))
    commit = day.moments(len(losers))
    event = day.before(commit)
    by = held["owner_id"][winners]
    world.journal.write("account", "merge", losers, event=event, commit=commit, merged_into=winners, by=by)
    held["life"][losers] = MERGED
    held["merged_at"][losers] = event
    held["since"][np.concatenate([losers, winners])] = np.tile(commit, 2)
    held["wins"][winners] += 1
