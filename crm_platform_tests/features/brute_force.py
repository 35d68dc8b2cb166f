"""What DESIGN 2 and 3 say, in plain Python over dicts, one question at a time: slow, and without a line of the kernel.

Rows are dicts with the columns of a history; moments are datetimes. Nothing here imports crm_platform.
"""

import datetime as dt
import math
import statistics
from fractions import Fraction

MICROSECOND = dt.timedelta(microseconds=1)


def known_at(row):
    return max(row["event_time"], row["processed_time"])


def version_order(row):
    position = row.get("source_position")
    return (row["event_time"], row["processed_time"], position is not None, position or "")


def writes(row, field):
    if row["is_tombstone"]:
        return False
    return row["changed_fields"] is None or field in row["changed_fields"]


def by_entity(rows):
    found = {}
    for row in rows:
        if row["entity_id"] is not None:
            found.setdefault(row["entity_id"], []).append(row)
    return found


def registers(rows, moment, fields):
    """The registers of one entity as known at a moment; None if nothing of it is known."""
    visible = [row for row in rows if known_at(row) <= moment]
    if not visible:
        return None
    newest = max(visible, key=version_order)
    shown = {}
    for field in fields:
        writers = [row for row in visible if writes(row, field)]
        shown[field] = max(writers, key=version_order)[field] if writers else None
    return {"is_deleted": newest["is_tombstone"], "stamp": version_order(newest), **shown}


def link(facts, loser, moment):
    told = [fact for fact in facts if fact["loser_id"] == loser and known_at(fact) <= moment]
    return max(told, key=fact_order, default=None)


def fact_order(fact):
    winner = fact["winner_id"]
    return (fact["event_time"], fact["processed_time"], winner is not None, winner or "")


def root(facts, entity, moment):
    way = [entity]
    while True:
        fact = link(facts, way[-1], moment)
        if fact is None or fact["winner_id"] is None:
            return way[-1]
        if fact["winner_id"] in way:
            cycle = way[way.index(fact["winner_id"]) :]
            return max((link(facts, member, moment) for member in cycle), key=fact_order)["winner_id"]
        way.append(fact["winner_id"])


def state_as_of(versions, moment, facts, fields):
    living = []
    for entity, rows in sorted(by_entity(versions).items()):
        state = registers(rows, moment, fields)
        if state and not state["is_deleted"] and root(facts, entity, moment) == entity:
            living.append({"entity_id": entity, **{field: state[field] for field in fields}})
    return living


class Answers:
    """Everything there is to say about one view over one history.

    `features` are tuples: (column name, operation, column, window, currency column, currency).
    """

    def __init__(self, features, activities, facts, versions, *, key, reads, attributes=()):
        self.features, self.facts, self.key, self.reads = features, facts, key, reads
        self.attributes = attributes
        self.activities = by_entity(activities)
        self.versions = None if versions is None else by_entity(versions)
        windows = [window for _, _, _, window, *_ in features]
        self.longest = None if None in windows or not windows else max(windows)
        self.windows = windows
        self.remembered = {}

    def first_step(self, entity):
        naming = [fact for fact in self.facts if entity in (fact["loser_id"], fact["winner_id"])]
        naming += (self.versions or {}).get(entity, [])
        for rows in self.activities.values():
            naming += [row for row in rows if writes(row, self.key) and row[self.key] == entity]
        return min((known_at(row) for row in naming), default=None)

    def entities(self):
        ids = {fact[side] for fact in self.facts for side in ("loser_id", "winner_id")}
        ids |= set(self.versions or {})
        ids |= {row[self.key] for rows in self.activities.values() for row in rows if writes(row, self.key)}
        return sorted(ids - {None})

    def counting(self, entity, moment):
        """The activities that count for an entity, however long ago they took place."""
        if moment not in self.remembered:
            self.remembered[moment] = self.counting_for_all(moment)
        return self.remembered[moment].get(entity, [])

    def counting_for_all(self, moment):
        found = {}
        for activity, rows in self.activities.items():
            state = registers(rows, moment, [self.key, "occurred_at", *self.reads])
            if state is None or state["is_deleted"] or state[self.key] is None or state["occurred_at"] is None:
                continue
            if state["occurred_at"] <= moment:
                owner = root(self.facts, state[self.key], moment)
                found.setdefault(owner, []).append({"activity": activity, **state})
        return found

    def own(self, entity, moment):
        """is_deleted and the attributes' values."""
        state = registers((self.versions or {}).get(entity, []), moment, self.attributes)
        dead = root(self.facts, entity, moment) != entity or bool(state and state["is_deleted"])
        return (dead, *(None if dead or state is None else state[name] for name in self.attributes))

    def news_set(self, entity, moment):
        return {
            (one["activity"], one["occurred_at"], *(one[name] for name in self.reads))
            for one in self.counting(entity, moment)
            if self.longest is None or one["occurred_at"] > moment - self.longest
        }

    def is_news(self, entity, moment):
        if moment == self.first_step(entity):
            return True
        before = moment - MICROSECOND
        if self.own(entity, before) != self.own(entity, moment):
            return True
        had, has = self.news_set(entity, before), self.news_set(entity, moment)
        expired = {one for one in had if self.longest is not None and one[1] + self.longest <= moment}
        return bool(has - had) or bool(had - has - expired)

    def instants(self):
        """Every moment at which anything can change."""
        if "instants" in self.remembered:
            return self.remembered["instants"]
        found = set()
        rows = [row for rows in self.activities.values() for row in rows]
        for row in [*rows, *self.facts, *(one for own in (self.versions or {}).values() for one in own)]:
            found.add(known_at(row))
        for row in rows:
            if row["occurred_at"] is not None:
                found.add(row["occurred_at"])
                found |= {row["occurred_at"] + window for window in self.windows if window is not None}
        self.remembered["instants"] = sorted(found)
        return self.remembered["instants"]

    def values(self, entity, moment):
        """The features, by name; None before the first step."""
        first = self.first_step(entity)
        if first is None or moment < first:
            return None
        return {
            name: self.value(op, column, window, self.counting(entity, moment), moment, *currency)
            for name, op, column, window, *currency in self.features
        }

    def value(self, op, column, window, counting, moment, *currency):
        inside = [one for one in counting if window is None or one["occurred_at"] > moment - window]
        if currency:
            inside = [one for one in inside if one[currency[0]] == currency[1]]
        in_time = sorted(inside, key=lambda one: (one["occurred_at"], one["stamp"], one["activity"]))
        if op == "count":
            return len(inside)
        if op in ("first", "last", "last_at"):
            place = 0 if op == "first" else -1
            return in_time[place][column] if in_time else None
        return aggregate(op, [one[column] for one in inside if one[column] is not None])

    def timeline(self, entity):
        """All steps of an entity: (known_at, changed_at, is_deleted, attributes…, features…)."""
        first = self.first_step(entity)
        steps, changed = [], None
        for moment in self.instants():
            if moment < first:
                continue
            if self.is_news(entity, moment):
                changed = moment
            row = (changed, *self.own(entity, moment), *self.values(entity, moment).values())
            if not steps or steps[-1][1:] != row:
                steps.append((moment, *row))
        return steps


def aggregate(op, given):
    """An aggregate of values that are not null."""
    if op == "sum":
        return math.fsum(given) if given and isinstance(given[0], float) else sum(given)
    if op == "distinct":
        return len(set(given))
    if op == "std":
        return statistics.stdev(map(Fraction, given)) if len(given) > 1 else None
    mean = lambda values: float(sum(map(Fraction, values)) / len(values))  # noqa: E731
    return {"min": min, "max": max, "mean": mean}[op](given) if given else None
