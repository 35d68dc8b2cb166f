"""How leads and opportunities change from day to day: they come, move on, convert, close, or are given up.

Who converts depends on a lead's hidden quality and on how much was done about it, so that an honest model can learn
something; what only a converted lead has (its ids, its time, the bustle after it) is there for a leaky one to fall for.
"""

import numpy as np

from crm_platform.contracts import sandbox as model
from crm_platform.sandbox.companies import enter_accounts
from crm_platform.sandbox.journal import NULL, Ints
from crm_platform.sandbox.lives import binned, bury, edit, enter, revive, sometimes_backdated
from crm_platform.sandbox.people import enter_contacts
from crm_platform.sandbox.world import DAY, Day, Stamps, World

LEADS_PER_ACCOUNT_AND_DAY = 0.2
NEW, WORKING, QUALIFIED, CONVERTED, DISQUALIFIED = range(5)
NEGOTIATION, WON, LOST = 3, 4, 5
ODDS = np.array([10, 25, 50, 75, 100, 0])
CONVERTING = (-7.0, 0.9, 1.8)
"""Log-odds of converting on a working day: the base, per unit of quality, per log of activities."""


def leads_arrive(world: World, day: Day) -> None:
    """Enters the day's leads."""
    count = day.count(world.accounts_wanted * LEADS_PER_ACCOUNT_AND_DAY * day.pace)
    stamps = day.stamps(world.journal, count)
    new = world.leads.add(
        count,
        name=day.code(count),
        company=day.code(count),
        phone=np.where(day.rng.random(count) < 0.2, NULL, day.code(count)),  # noqa: PLR2004
        source=day.some(count, len(model.LEAD_SOURCES)),
        employees=np.where(day.rng.random(count) < 0.3, NULL, day.some(count, 900) + 1),  # noqa: PLR2004
        owner_id=day.rng.choice(world.active_owners(), count),
        converted_at=NULL,
        account_id=NULL,
        contact_id=NULL,
        opportunity_id=NULL,
        quality=(1000 * day.rng.normal(0, 1, count)).astype(np.int64),
        since=stamps.event,
    )
    enter(world, "lead", new, stamps, origin="integration")


def leads_change(world: World, day: Day) -> None:
    """Works on leads that were there yesterday: qualifies, converts, edits, gives up, deletes."""
    held = world.leads
    old, resting = held.settled(day.start), binned(world, day, "lead")
    (deleted, hard) = day.dealt(old, 0.0006 * day.pace, 0.0002 * day.pace)
    bury(world, day, "lead", deleted, hard)
    revive(world, day, "lead", resting, 0.06 * day.pace)
    old = held.settled(day.start)
    pending = old[held["status"][old] < CONVERTED]
    status, calls = held["status"][pending], held["calls"][pending]
    base, per_quality, per_call = CONVERTING
    odds = base + per_quality * held["quality"][pending] / 1000 + per_call * np.log1p(calls)
    converting, lost, working, qualified, phones, owners = day.dealt(
        pending,
        day.pace / (1 + np.exp(-odds)),
        day.pace * 0.025,
        day.pace * 0.5 * ((status == NEW) & (calls > 0)),
        day.pace * 0.04 * ((status == WORKING) & (calls > 1)),
        day.pace * 0.004,
        day.pace * 0.004,
    )
    _convert(world, day, converting)
    for rows, reached in ((lost, DISQUALIFIED), (working, WORKING), (qualified, QUALIFIED)):
        held["status"][rows] = reached
        commit = day.moments(len(rows))
        event = sometimes_backdated(day, commit, held["created"][rows], 0.05)
        edit(world, day, "lead", rows, ("status",), commit=commit, event=event)
    held["phone"][phones] = day.code(len(phones))
    edit(world, day, "lead", phones, ("phone",), origin="mobile")
    held["owner_id"][owners] = day.rng.choice(world.active_owners(), len(owners))
    edit(world, day, "lead", owners, ("owner_id",))


def _convert(world: World, day: Day, leads: Ints) -> None:
    """Turns leads into customers: account, contact, deal and lead change in one transaction."""
    held = world.leads
    stamps = day.stamps(world.journal, len(leads))
    hosts = world.accounts.settled(day.start)
    known = (day.rng.random(len(leads)) < 0.3) & (len(hosts) > 0)  # noqa: PLR2004
    account = np.empty(len(leads), np.int64)
    if known.any():
        account[known] = day.rng.choice(hosts, int(known.sum()))
    account[~known] = enter_accounts(world, day, stamps.of(~known), origin="automation", people=False)
    contact = enter_contacts(world, day, account, stamps, order=2, origin="automation")
    deal = enter_deals(world, day, account, stamps, lead=leads, order=3)
    held["status"][leads] = CONVERTED
    held["converted_at"][leads] = stamps.event
    held["account_id"][leads] = account
    held["contact_id"][leads] = contact
    held["opportunity_id"][leads] = deal
    names = ("status", "converted_at", "account_id", "contact_id", "opportunity_id")
    fields: dict[str, Ints | int] = {name: held[name][leads] for name in names}
    fields["modified_at"] = stamps.event
    world.journal.write(
        *("lead", "update", leads),
        event=stamps.event,
        commit=stamps.commit,
        txn=stamps.txn,
        order=4,
        fields=fields,
        by=held["owner_id"][leads],
    )


def enter_deals(
    world: World, day: Day, account: Ints, stamps: Stamps, *, lead: Ints | int = NULL, order: int = 1
) -> Ints:
    """Creates one opportunity per stamp."""
    count, accounts = len(stamps), world.accounts
    new = world.opportunities.add(
        count,
        name=day.code(count),
        account_id=account,
        contact_id=accounts["contact"][account],
        lead_id=lead,
        owner_id=accounts["owner_id"][account],
        amount=np.where(day.rng.random(count) < 0.15, NULL, day.cents(count, 12_000)),  # noqa: PLR2004
        currency=accounts["currency"][account],
        probability=ODDS[0],
        close_date=stamps.event // DAY + 20 + day.some(count, 90),
        since=stamps.event,
    )
    enter(world, "opportunity", new, stamps, order=order)
    return new


def deals_change(world: World, day: Day) -> None:
    """Opens, moves, corrects, closes and deletes opportunities."""
    held = world.opportunities
    old, resting = held.settled(day.start), binned(world, day, "opportunity")
    pending = old[held["stage"][old] <= NEGOTIATION]
    rates = (0.06, 0.012, 0.03, 0.008, 0.02, 0.003, 0.004, 0.0008, 0.0003)
    lots = day.dealt(pending, *(rate * day.pace for rate in rates))
    advancing, lost, amounts, corrected, pushed, cleared, owners, soft, hard = lots
    _move(world, day, advancing, lost)
    _price(world, day, amounts, corrected)
    held["close_date"][pushed] += 7 + day.some(len(pushed), 30)
    edit(world, day, "opportunity", pushed, ("close_date",))
    held["contact_id"][cleared] = NULL
    edit(world, day, "opportunity", cleared, ("contact_id",))
    held["owner_id"][owners] = day.rng.choice(world.active_owners(), len(owners))
    edit(world, day, "opportunity", owners, ("owner_id",))
    bury(world, day, "opportunity", soft, hard)
    revive(world, day, "opportunity", resting, 0.06 * day.pace)
    hosts = world.accounts.settled(day.start)
    (buying,) = day.dealt(hosts, 0.006 * day.pace)
    enter_deals(world, day, buying, day.stamps(world.journal, len(buying)))


def _move(world: World, day: Day, advancing: Ints, lost: Ints) -> None:
    """Moves deals to their next stage, or out."""
    held = world.opportunities
    failing = (held["stage"][advancing] == NEGOTIATION) & (day.rng.random(len(advancing)) < 0.45)  # noqa: PLR2004
    held["stage"][advancing] = np.where(failing, LOST, held["stage"][advancing] + 1)
    held["stage"][lost] = LOST
    moved = np.sort(np.concatenate([advancing, lost]))
    held["probability"][moved] = ODDS[held["stage"][moved]]
    held["is_closed"][moved] = held["stage"][moved] >= WON
    commit = day.moments(len(moved))
    event = sometimes_backdated(day, commit, held["created"][moved], 0.08)
    edit(world, day, "opportunity", moved, ("stage", "probability", "is_closed"), commit=commit, event=event)


def _price(world: World, day: Day, amounts: Ints, corrected: Ints) -> None:
    """Sets amounts anew, some with an edit time days back; the fault `negative_amount` puts minus signs."""
    held, fault = world.opportunities, world.faults.negative_amount
    for rows, share in ((amounts, 0.0), (corrected, 1.0)):
        worth = day.cents(len(rows), 14_000)
        if fault and day.number >= fault.day:
            worth = np.where(day.rng.random(len(rows)) < fault.share, -worth, worth)
        held["amount"][rows] = worth
        commit = day.moments(len(rows))
        event = sometimes_backdated(day, commit, held["created"][rows], share)
        edit(world, day, "opportunity", rows, ("amount",), commit=commit, event=event)
