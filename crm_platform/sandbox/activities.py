"""What is done about leads, deals and accounts: logged in time or late, planned ahead, corrected, moved, deleted.

Only the activities of the last days can still change, so that memory holds no more than those.
"""

import numpy as np

from crm_platform.contracts import sandbox as model
from crm_platform.sandbox.journal import NULL, Ints
from crm_platform.sandbox.pipeline import CONVERTED, NEGOTIATION
from crm_platform.sandbox.world import DAY, GONE, HOUR, LIVING, MINUTE, SOFT_DELETED, Day, World

MUTABLE_DAYS = 14
CALL, EMAIL, MEETING, TASK = range(4)
KEYS = ("account_id", "contact_id", "lead_id", "opportunity_id")
COLUMNS = ("kind", "channel", "subject", "outcome", "occurred_at", "duration_minutes", "amount", "currency", *KEYS)
IMAGE = (*COLUMNS, "owner_id")
CHANNEL_OF_KIND = np.array([[0, 2, 0], [1, 1, 4], [3, 2, 3], [NULL, NULL, NULL]])
TIMELY, SAME_DAY, LATE, PLANNED = 0.70, 0.14, 0.08, 0.08


class Diary:
    """The activities of the last days, and how many there were in all."""

    def __init__(self) -> None:
        self.count = 0
        self.recent: dict[str, Ints] = {name: np.empty(0, np.int64) for name in ("id", "life", "created", *IMAGE)}

    def begin(self, day: Day) -> None:
        """Lets go of what can no longer change."""
        young = self.recent["created"] >= day.start - MUTABLE_DAYS * DAY
        self.recent = {name: values[young] for name, values in self.recent.items()}

    def log(self, world: World, day: Day) -> None:
        """Notes what was done today, what was done before, and what is planned."""
        lead, deal, account = self._occasions(world, day)
        count = len(lead) + len(deal) + len(account)
        nothing = np.full(count, NULL, np.int64)
        keys = {name: nothing.copy() for name in (*KEYS, "owner_id", "currency")}
        on_lead, on_deal = slice(0, len(lead)), slice(len(lead), len(lead) + len(deal))
        on_account = slice(on_deal.stop, count)
        keys["lead_id"][on_lead] = lead
        keys["owner_id"][on_lead] = world.leads["owner_id"][lead]
        keys["currency"][on_lead] = day.some(len(lead), len(model.CURRENCIES))
        keys["opportunity_id"][on_deal] = deal
        for name in ("account_id", "contact_id", "owner_id", "currency"):
            keys[name][on_deal] = world.opportunities[name][deal]
        keys["account_id"][on_account] = account
        keys["contact_id"][on_account] = world.accounts["contact"][account]
        for name in ("owner_id", "currency"):
            keys[name][on_account] = world.accounts[name][account]
        commit = day.moments(count)[day.rng.permutation(count)]
        self._enter(world, day, commit, keys)

    def _occasions(self, world: World, day: Day) -> tuple[Ints, Ints, Ints]:
        """Whom and what the day's activities are about: leads, deals, accounts, each as often as it is worked on."""
        leads, deals, accounts = world.leads, world.opportunities, world.accounts
        old = leads.settled(day.start)
        status, quality = leads["status"][old], leads["quality"][old] / 1000
        fresh = (status == CONVERTED) & (leads["converted_at"][old] > day.start - 4 * DAY)
        mean = np.where(status < CONVERTED, 0.27 * np.exp(0.6 * quality), np.where(fresh, 1.6, 0.004))
        lead = np.repeat(old, day.rng.poisson(mean * day.pace))
        old = deals.settled(day.start)
        pending = old[deals["stage"][old] <= NEGOTIATION]
        deal = np.repeat(pending, day.rng.poisson(0.2 * day.pace, len(pending)))
        old = accounts.settled(day.start)
        return lead, deal, np.repeat(old, day.rng.poisson(0.3 * day.pace, len(old)))

    def _enter(self, world: World, day: Day, commit: Ints, keys: dict[str, Ints]) -> None:
        """Writes new activities: of random kinds, at random times before or after they are logged."""
        rng, count = day.rng, len(commit)
        event = day.before(commit)
        kind = rng.choice(4, count, p=[0.45, 0.3, 0.15, 0.1])
        manner = rng.choice(4, count, p=[TIMELY, SAME_DAY, LATE, PLANNED])
        shift = np.select(
            [manner == 0, manner == 1, manner == 2],  # noqa: PLR2004  in the order of the chances above
            [
                -rng.integers(MINUTE, 90 * MINUTE, count),
                -rng.integers(HOUR, 24 * HOUR, count),
                -rng.integers(DAY, 8 * DAY, count),
            ],
            rng.integers(HOUR, 10 * DAY, count),
        )
        worth = np.where(rng.random(count) < np.where(keys["opportunity_id"] == NULL, 0.15, 0.4), 0, NULL)
        talked = (kind == CALL) | (kind == MEETING)
        planned = manner == 3  # noqa: PLR2004
        entered = {
            "id": np.arange(self.count, self.count + count),
            "life": np.full(count, LIVING),
            "created": event,
            **keys,
            "kind": kind,
            "channel": CHANNEL_OF_KIND[kind, rng.integers(0, 3, count)],
            "subject": day.code(count),
            "outcome": np.where(talked & ~planned, rng.integers(0, len(model.OUTCOMES), count), NULL),
            "occurred_at": event + shift,
            "duration_minutes": np.where(talked, rng.integers(1, 90, count), NULL),
            "amount": np.where(worth == NULL, NULL, day.cents(count, 9_000)),
            "currency": np.where(worth == NULL, NULL, keys["currency"]),
        }
        self.count += count
        calls = entered["lead_id"][talked & ~planned]
        np.add.at(world.leads["calls"], calls[calls != NULL], 1)
        fields: dict[str, Ints | int] = {name: entered[name] for name in IMAGE}
        fields |= {"created_at": event, "modified_at": event}
        by = entered["owner_id"]
        world.journal.write(
            *("activity", "create", entered["id"]), event=event, commit=commit, fields=fields, by=by, origin="mobile"
        )
        self.recent = {name: np.concatenate([values, entered[name]]) for name, values in self.recent.items()}

    def change(self, world: World, day: Day) -> None:
        """Corrects, moves, deletes and restores activities of the last days, each at most once a day."""
        held = self.recent
        binned = np.flatnonzero(held["life"] == SOFT_DELETED)
        living = np.flatnonzero(held["life"] == LIVING)
        planned = held["occurred_at"][living] > day.start
        rates = (0.004, 0.003, 0.003, 0.002, 0.0006)
        lots = day.dealt(living, *(rate * day.pace for rate in rates), 0.1 * day.pace * planned)
        values, moved, told, soft, hard, done = lots
        held["amount"][values] = day.cents(len(values), 9_000)
        held["currency"][values] = day.some(len(values), len(model.CURRENCIES))
        held["duration_minutes"][values] = 1 + day.some(len(values), 120)
        self._edit(world, day, values, ("amount", "currency", "duration_minutes"), backdated=0.25)
        held["subject"][told] = np.where(day.rng.random(len(told)) < 0.3, NULL, day.code(len(told)))  # noqa: PLR2004
        held["outcome"][told] = day.some(len(told), len(model.OUTCOMES))
        self._edit(world, day, told, ("subject", "outcome"), backdated=1)
        later = held["occurred_at"][moved] + day.rng.integers(-3 * DAY, 3 * DAY, len(moved))
        held["occurred_at"][moved] = later
        self._edit(world, day, moved, ("occurred_at",), backdated=0.1)
        held["occurred_at"][done] = np.minimum(held["occurred_at"][done], day.start)
        held["outcome"][done] = day.some(len(done), len(model.OUTCOMES))
        self._edit(world, day, done, ("occurred_at", "outcome"), backdated=0)
        untouched = living[~np.isin(living, np.concatenate(lots))]
        self._rekey(world, day, untouched)
        self._delete(world, day, soft, hard)
        self._restore(world, day, binned)
        if world.faults.hidden_deletes:
            self._unseen(world, day, world.faults.hidden_deletes.unseen_creates)

    def _edit(self, world: World, day: Day, rows: Ints, names: tuple[str, ...], *, backdated: float) -> None:
        held, commit = self.recent, day.moments(len(rows))
        claimed = day.rng.random(len(rows)) < backdated
        event = np.where(claimed, day.backdated(commit, held["created"][rows]), day.before(commit))
        fields: dict[str, Ints | int] = {name: held[name][rows] for name in names}
        fields["modified_at"] = event
        by = held["owner_id"][rows]
        world.journal.write(*("activity", "update", held["id"][rows]), event=event, commit=commit, fields=fields, by=by)

    def _rekey(self, world: World, day: Day, among: Ints) -> None:
        """Moves some activities that were logged about the wrong lead or account."""
        held = self.recent
        for name, hosts in (
            ("lead_id", world.leads.settled(day.start)),
            ("account_id", world.accounts.settled(day.start)),
        ):
            (rows,) = day.dealt(among[held[name][among] != NULL], 0.0025 * day.pace)
            if not len(hosts):
                continue
            held[name][rows] = day.rng.choice(hosts, len(rows))
            among = among[~np.isin(among, rows)]
            self._edit(world, day, rows, (name,), backdated=0.1)

    def _delete(self, world: World, day: Day, soft: Ints, hard: Ints) -> None:
        held, fault = self.recent, world.faults.hidden_deletes
        commit = day.moments(len(soft))
        by = held["owner_id"][soft]
        world.journal.write(*("activity", "delete", held["id"][soft]), event=day.before(commit), commit=commit, by=by)
        held["life"][soft] = SOFT_DELETED
        commit = day.moments(len(hard))
        hidden = (day.rng.random(len(hard)) < fault.share).astype(np.int64) if fault else 0
        event, gone = day.before(commit), held["id"][hard]
        world.journal.write(
            *("activity", "delete", gone), event=event, commit=commit, hidden=hidden, hard=1, origin="automation"
        )
        held["life"][hard] = GONE

    def _restore(self, world: World, day: Day, binned: Ints) -> None:
        held = self.recent
        (back,) = day.dealt(binned, 0.1 * day.pace)
        commit = day.moments(len(back))
        event = day.before(commit)
        fields: dict[str, Ints | int] = {name: held[name][back] for name in IMAGE}
        fields |= {"created_at": held["created"][back], "modified_at": event}
        world.journal.write(
            *("activity", "undelete", held["id"][back]), event=event, commit=commit, fields=fields, by=0
        )
        held["life"][back] = LIVING

    def _unseen(self, world: World, day: Day, count: int) -> None:
        """Creates activities and deletes them minutes later; the feed shows the deletes alone."""
        commit = day.moments(count)
        event = day.before(commit)
        ids = np.arange(self.count, self.count + count)
        self.count += count
        nothing: dict[str, Ints | int] = dict.fromkeys(IMAGE, NULL)
        fields = nothing | {
            "kind": TASK,
            "occurred_at": event,
            "owner_id": 0,
            "created_at": event,
            "modified_at": event,
        }
        world.journal.write("activity", "create", ids, event=event, commit=commit, fields=fields, hidden=1)
        world.journal.write("activity", "delete", ids, event=event + 5 * MINUTE, commit=commit + 6 * MINUTE)
