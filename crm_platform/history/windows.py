"""Which days a build takes together: one stretch, before the first red day, in parts that fit into memory."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta

from crm_platform.history.errors import WindowError
from crm_platform.lake import Lake, Part, first_red_day

ONE_DAY = timedelta(days=1)
JUST_AFTER = timedelta(microseconds=1)


def stretch(table: str, days: Sequence[date]) -> list[date]:
    """The days in order.

    Raises:
        WindowError: They are none, or one in between is missing.
    """
    if not days:
        raise WindowError.no_days(table)
    asked = set(days)
    first, last = min(asked), max(asked)
    whole = [first + n * ONE_DAY for n in range((last - first).days + 1)]
    missing = [day for day in whole if day not in asked]
    if missing:
        raise WindowError.gap(table, missing)
    return whole


def upstream_of(objects: Iterable[str]) -> list[str]:
    """The tables whose red days stop what is made of these objects' histories."""
    rooms = ("landing/changes", "landing/snapshot", "history")
    return [f"{room}/{name}" for name in objects for room in rooms]


def stretches(days: Sequence[date], rows: Mapping[Part, int], at_once: int) -> Iterator[list[date]]:
    """The days in stretches that hold no more rows than fit at once, a single fuller day apart."""
    held: list[date] = []
    size = 0
    for day in days:
        if held and size + rows.get(day, 0) > at_once:
            yield held
            held, size = [], 0
        held.append(day)
        size += rows.get(day, 0)
    if held:
        yield held


def before_red(lake: Lake, window: Sequence[date], tables: Sequence[str]) -> list[date]:
    """The days of a window before the first on which one of the tables is red: state carries over, later days wait."""
    red = first_red_day(lake, tables)
    return [day for day in window if red is None or day < red]


def with_what_came_before(days: list[date], first_day: date | None, held: Sequence[date]) -> list[date]:
    """The days, led by all earlier ones that hold rows where the days begin with the first there is."""
    return [*(day for day in held if day < days[0]), *days] if days and days[0] == first_day else days
