"""What to tell a target, given what is open and what it was told: one grouped message at a time, and when to try it.

Pure. A target has at most one message on its way; what happens meanwhile is told by the next one, as it then is. So
whatever fails, for however long, what is kept and what is sent stays bounded.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from crm_platform.alerts.problems import CHECK_FAILED, KINDS, LAPSES, LAPSING, Frozen, Key, Problem, listed

MOST_GROUPS = 20
MOST_PLACES = 5
PER_HOUR = 20
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)


class Told(Frozen):
    """A problem that a target was told of."""

    kind: str
    subject: str
    place: str
    since: datetime

    @property
    def key(self) -> Key:
        """What makes it the same problem."""
        return self.kind, self.subject, self.place


class Group(Frozen):
    """The problems of one kind and subject: where (at most five places named), how much in the first, since when, what to do."""

    kind: str
    subject: str
    places: tuple[str, ...]
    how_many: int
    since: datetime
    how_much: str = ""
    runbook: str = ""
    command: str = ""


class Message(Frozen):
    """What one request tells: what is wrong, what is well again, at most twenty groups of both, and how many are left out.

    The id stays the same over all attempts, so that a receiver can know one that came twice.
    """

    id: str
    title: str
    queued_at: datetime
    wrong: tuple[Group, ...] = ()
    well: tuple[Group, ...] = ()
    left_out: int = 0
    attempts: int = 0
    next_at: datetime


class Ledger(Frozen):
    """What one target knows: what it was told to be open, what is on its way, when messages were queued last.

    `left_out` says who of the target did not get the message that arrived last; empty if all did.
    """

    told: tuple[Told, ...] = ()
    pending: Message | None = None
    queued: tuple[datetime, ...] = ()
    left_out: str = ""


def with_news(
    ledger: Ledger, held: Mapping[Key, Problem], muted: Collection[Key], now: datetime, *, target: str, runbook: str
) -> Ledger:
    """The ledger with a message for all that changed since the target was told last; itself where there is none.

    Nothing is queued while a message is on its way, nor beyond twenty in an hour: what changed waits, and is told then.
    What is muted is not told while it is; that something told is well again always is, unless it only lapsed.
    """
    told = {one.key: one for one in ledger.told if one.key in held or not _lapsed(one, now)}
    recent = tuple(moment for moment in ledger.queued if moment > now - timedelta(hours=1))
    wrong = [problem for key, problem in sorted(held.items()) if key not in told and key not in muted]
    well = [one for key, one in sorted(told.items()) if key not in held]
    if ledger.pending is not None or len(recent) >= PER_HOUR or not (wrong or well):
        return ledger
    known = {key: one for key, one in told.items() if key in held} | {p.key: _told(p) for p in wrong}
    return Ledger(
        told=tuple(one for _, one in sorted(known.items())),
        pending=_message(target, _groups(wrong, runbook), _groups(well, runbook), now),
        queued=(*recent, now),
        left_out=ledger.left_out,
    )


def _told(problem: Problem) -> Told:
    return Told(kind=problem.kind, subject=problem.subject, place=problem.place, since=problem.since)


def _lapsed(one: Told, now: datetime) -> bool:
    return one.kind in LAPSING and one.since < now - LAPSES


def _groups(problems: Sequence[Problem | Told], runbook: str) -> list[Group]:
    """One group per kind and subject, in the order of the kinds: a failed check before the backfill that it ended."""
    ordered = sorted(problems, key=lambda one: (KINDS.index(one.kind), one.key))
    return [_group(list(alike), runbook) for _, alike in groupby(ordered, key=lambda one: one.key[:2])]


def _group(alike: Sequence[Problem | Told], runbook: str) -> Group:
    first = alike[0]
    open_ = isinstance(first, Problem)
    return Group(
        kind=first.kind,
        subject=first.subject,
        places=tuple(one.place for one in alike if one.place)[:MOST_PLACES],
        how_many=len(alike),
        since=min(one.since for one in alike),
        how_much=_how_much(alike) if isinstance(first, Problem) else "",
        runbook=f"{runbook}#{first.section}" if open_ else "",
        command=_command(alike) if isinstance(first, Problem) else "",
    )


def _how_much(alike: Sequence[Problem | Told]) -> str:
    """How much is wrong in the first place, which is named where there are others: no figure is added up over them."""
    first = alike[0]
    much = first.how_much if isinstance(first, Problem) else ""
    return f"{first.place}: {much}" if much and len(alike) > 1 else much


def _command(alike: Sequence[Problem | Told]) -> str:
    """The first problem's command; that of a check goes on to the last day."""
    first, last = alike[0], alike[-1]
    command = first.command if isinstance(first, Problem) else ""
    return command.replace(f"--to {first.place}", f"--to {last.place}") if first.kind == CHECK_FAILED else command


def _message(target: str, wrong: list[Group], well: list[Group], now: datetime) -> Message:
    shown = wrong[:MOST_GROUPS]
    healed = well[: MOST_GROUPS - len(shown)]
    counts = [f"{len(wrong)} wrong"] * bool(wrong) + [f"{len(well)} well again"] * bool(well)
    named = "\n".join([target, now.isoformat(), *(f"{one.kind} {one.subject}" for one in (*wrong, *well))])
    return Message(
        id=hashlib.sha256(named.encode()).hexdigest()[:32],
        title=f"crm_platform: {', '.join(counts)}",
        queued_at=now,
        wrong=tuple(shown),
        well=tuple(healed),
        left_out=len(wrong) + len(well) - len(shown) - len(healed),
        next_at=now,
    )


def is_due(ledger: Ledger, now: datetime) -> bool:
    """Whether a message is on its way and may be tried now."""
    return ledger.pending is not None and ledger.pending.next_at <= now


def attempted(ledger: Ledger, now: datetime) -> Ledger:
    """The ledger with one more attempt counted, before it is made: the next is due after a pause that doubles up to an hour."""
    if ledger.pending is None:
        return ledger
    doublings = min(ledger.pending.attempts, 16)
    pause = min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE)
    tried = ledger.pending.model_copy(update={"attempts": ledger.pending.attempts + 1, "next_at": now + pause})
    return ledger.model_copy(update={"pending": tried})


def delivered(ledger: Ledger, left_out: str = "") -> Ledger:
    """The ledger once its message has arrived, perhaps not for everybody: nothing of it is sent again."""
    return ledger.model_copy(update={"pending": None, "left_out": left_out})


def lines(message: Message) -> list[str]:
    """A message in words: one line per group, then how many are left out."""
    told = [_wrong(group) for group in message.wrong]
    told += [f"well again: {_what(group)}, open since {group.since:%Y-%m-%d %H:%M} UTC" for group in message.well]
    return told + ([f"and {message.left_out} more; see crm-platform alerts list"] if message.left_out else [])


def _what(group: Group) -> str:
    places = listed(group.places, MOST_PLACES)
    more = group.how_many - max(len(group.places), 1)
    where = f" on {places}" if places else ""
    return f"{group.kind}: {group.subject}{where}" + (f" and {more} more" if more > 0 else "")


def _wrong(group: Group) -> str:
    much = f" ({group.how_much})" if group.how_much else ""
    todo = f" Then: {group.command}" if group.command else ""
    return f"{_what(group)}{much}, since {group.since:%Y-%m-%d %H:%M} UTC. See {group.runbook}.{todo}"
