"""The true history of a sandbox: what was so and what was known of any entity, at any moment of both times.

Written entity by entity in plain Python, apart from how the server and the platform work it out, so that tests can hold
them against it. Rows that the feed hides are part of it; what shows up late counts from its commit.
"""

import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from crm_platform.sandbox.changelog import ChangeLog
from crm_platform.sandbox.journal import FULL
from crm_platform.sandbox.vocabulary import COLUMNS, OBJECTS

LOADED_AT_ONCE = 1_000_000
Row = dict[str, Any]


@dataclass(frozen=True)
class State:
    """An entity as its registers show it; `merged_into` is the link, null also after an unmerge."""

    fields: Mapping[str, Any]
    is_deleted: bool
    merged_into: str | None


@dataclass(frozen=True)
class MergeFact:
    """One merge, or with no winner one unmerge."""

    loser_id: str
    winner_id: str | None
    event_time: datetime
    commit_time: datetime


@dataclass(frozen=True)
class Probe:
    """A question to the history: this entity, as edited up to one moment and committed up to another."""

    object: str
    entity_id: str
    event_time: datetime
    commit_time: datetime


class Truth:
    """Answers from a generated log, given by its folder (`generated(config)`)."""

    def __init__(self, folder: Path) -> None:
        self._log = ChangeLog(folder)
        self._rows: dict[str, dict[str, list[Row]]] = {}

    def entities(self, of: str) -> list[str]:
        """Every id an object ever had, sorted."""
        return self._log.scan(of).select("id").unique().collect().get_column("id").sort().to_list()

    def versions(self, of: str, entity_id: str) -> list[Row]:
        """All rows of an entity, in version order."""
        if of not in self._rows:
            count = self._log.scan(of).select(pl.len()).collect().item()
            if count > LOADED_AT_ONCE:
                return _ordered(self._log.scan(of).filter(pl.col("id") == entity_id).collect().to_dicts())
            loaded: dict[str, list[Row]] = defaultdict(list)
            for row in self._log.scan(of).collect().iter_rows(named=True):
                loaded[row["id"]].append(row)
            self._rows[of] = {entity: _ordered(rows) for entity, rows in loaded.items()}
        return self._rows[of].get(entity_id, [])

    def at(self, of: str, entity_id: str, *, event_time: datetime, commit_time: datetime) -> State | None:
        """What an entity's registers show, of the edits up to one moment that were committed up to another.

        Returns:
            None where there is no such edit.
        """
        fields: dict[str, Any] = dict.fromkeys(COLUMNS[of])
        deleted, link, seen = False, None, False
        for row in self.versions(of, entity_id):
            if row["_event"] > event_time or row["_commit"] > commit_time:
                continue
            seen = True
            deleted = row["_operation"] in {"delete", "merge"}
            if row["_operation"] in {"merge", "undelete"}:
                link = row["_merged_into"]
            for place, name in enumerate(COLUMNS[of]):
                if row["_mask"] == FULL or row["_mask"] >> place & 1:
                    fields[name] = row[name]
        return State(fields | {"id": entity_id}, deleted, link) if seen else None

    def known(self, of: str, entity_id: str, as_of: datetime) -> State | None:
        """What was known of an entity at a moment."""
        return self.at(of, entity_id, event_time=as_of, commit_time=as_of)

    def living(self, of: str, as_of: datetime) -> dict[str, Mapping[str, Any]]:
        """The fields of every entity that was known to live at a moment, by id."""
        states = {entity: self.known(of, entity, as_of) for entity in self.entities(of)}
        return {entity: state.fields for entity, state in states.items() if state and not state.is_deleted}

    @cache  # noqa: B019  a Truth lives as long as its test
    def merges(self, of: str) -> tuple[MergeFact, ...]:
        """Every merge and unmerge of an object, however it is shown, in the order of its times."""
        listed: dict[tuple[str, str], MergeFact] = {}
        facts: list[MergeFact] = []
        for entity in self.entities(of):
            for row in self.versions(of, entity):
                times = (row["_event"], row["_commit"])
                if row["_operation"] in {"merge", "undelete"}:
                    facts.append(MergeFact(entity, row["_merged_into"], *times))
                for loser in row.get("merged_ids") or ():
                    listed.setdefault((loser, entity), MergeFact(loser, entity, *times))
        return tuple(sorted([*facts, *listed.values()], key=_fact_order))

    def root(self, of: str, entity_id: str, as_of: datetime) -> str:
        """The entity that another has become by the merges known at a moment; in a cycle, its newest winner."""
        links: dict[str, MergeFact] = {}
        for fact in self.merges(of):
            if fact.event_time <= as_of and fact.commit_time <= as_of:
                links[fact.loser_id] = fact
        path = [entity_id]
        while (link := links.get(path[-1])) and link.winner_id:
            if link.winner_id in path:
                cycle = path[path.index(link.winner_id) :]
                newest = max((links[member] for member in cycle), key=_fact_order)
                return newest.winner_id or entity_id
            path.append(link.winner_id)
        return path[-1]

    def probes(self, count: int, *, seed: int = 1, until: datetime | None = None) -> list[Probe]:
        """Random questions about all objects, many of them about entities to which much has happened.

        Args:
            count: How many.
            seed: What they are drawn from.
            until: The last moment to ask about; by default the last event's.

        Returns:
            Questions of which every other names two moments, the rest one on both axes; some ask at the very moment of
            a version, some before anything is known.
        """
        dice = random.Random(seed)  # noqa: S311  no secret
        last = until or self._moment(self._log.events - 1)
        entities = {of: self.entities(of) for of in OBJECTS}
        asked: list[Probe] = []
        for number in range(count):
            of = OBJECTS[number % len(OBJECTS)]
            candidates = [self.versions(of, entity) for entity in dice.choices(entities[of], k=dice.choice((1, 6)))]
            versions = max(candidates, key=len)
            first = min(versions[0]["_event"], last) - timedelta(days=3)
            moments = [first + (last - first) * dice.random() for _ in range(2)]
            if dice.random() < 0.3:  # noqa: PLR2004
                version = dice.choice(versions)
                moments = [min(version["_event"], last), min(version["_commit"], last)]
            event_time, commit_time = moments if number % 2 else [max(moments)] * 2
            asked.append(Probe(of, versions[0]["id"], event_time, commit_time))
        return asked

    def _moment(self, place: int) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(self._log.visible[place]))


def _ordered(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["_event"], row["_commit"], row["_place"]))


def _fact_order(fact: MergeFact) -> tuple[datetime, datetime, str]:
    return fact.event_time, fact.commit_time, fact.winner_id or ""
