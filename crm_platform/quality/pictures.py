"""Small pictures for metadata: lines and fields over days as SVG, inside Markdown as an image of its own.

Numbers and names of columns come in, Markdown goes out; no value of a row is ever drawn. Dagster's UI lets Markdown show
images with `data:` addresses and drops inline SVG, so the picture is encoded.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from html import escape
from itertools import groupby

from crm_platform.quality.result import Markdown

WIDTH, LEFT, RIGHT, HEIGHT, GAP = 640, 200, 90, 34, 10
TOP, ROW, NAMES, KEY = 24, 16, 230, 160
"""Where the first line begins; how high a row of fields is, how wide the names beside it, and each word of the key below."""
INK, FADED, ALARM = "#2b6cb0", "#718096", "#c53030"
LEVELS = ("#cfe3d4", "#ecc94b", ALARM)
"""The colours of fields, from still to alarming."""

DOTTED = 10
"""Up to how many values each has its dot: pictures are kept with every event, and lie there for good."""


def lines_over_days(
    title: str, series: Mapping[str, Mapping[date, float]], limits: Mapping[str, float], top: float | None = None
) -> Markdown:
    """One line per name over the same days, from 0, with its last value and the limit it should stay below.

    Args:
        title: What is drawn, in words.
        series: By name, the values of the days that have one.
        limits: By name, from where on a value is alarming; a name without one has no limit drawn.
        top: Where the scale of all lines ends, whatever lies beyond; None where each has a scale of its own, whose end is told.
    """
    days = sorted({day for values in series.values() for day in values})
    height = TOP + len(series) * (HEIGHT + GAP) + 18
    drawn = _canvas(title, height)
    for number, (name, values) in enumerate(series.items()):
        drawn += _line(name, values, (limits.get(name), top), days, TOP + number * (HEIGHT + GAP))
    if days:
        drawn.append(f'<text x="{LEFT}" y="{height - 6}" fill="{FADED}">{days[0]} … {days[-1]}</text>')
    return _image(title, drawn)


def fields_over_days(
    title: str, series: Mapping[str, Mapping[date, float]], bounds: tuple[float, float], said: tuple[str, str, str]
) -> Markdown:
    """One row of fields per name over the same days: blank without a value, else in one of three colours.

    Args:
        title: What is drawn, in words.
        series: By name, the values of the days that have one.
        bounds: Up to where a value is in the first colour, and up to where in the second.
        said: What the colours mean.
    """
    days = sorted({day for values in series.values() for day in values})
    window = [days[0] + timedelta(days=n) for n in range((days[-1] - days[0]).days + 1)] if days else []
    bottom = TOP + len(series) * ROW
    drawn = _canvas(title, bottom + 2 * ROW + 12)
    for number, (name, values) in enumerate(series.items()):
        drawn += _fields(name, values, bounds, window, TOP + number * ROW)
    if days:
        drawn.append(f'<text x="{NAMES}" y="{bottom + ROW}" fill="{FADED}">{days[0]} … {days[-1]}</text>')
    for place, (color, words) in enumerate(zip(LEVELS, said, strict=True)):
        x, y = 8 + place * KEY, bottom + ROW + 8
        drawn.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{color}"/>')
        drawn.append(f'<text x="{x + 16}" y="{y + 9}">{escape(words)}</text>')
    drawn.append(f'<text x="{8 + len(LEVELS) * KEY}" y="{bottom + ROW + 17}" fill="{FADED}">blank: not measured</text>')
    return _image(title, drawn)


def _fields(
    name: str, values: Mapping[date, float], bounds: tuple[float, float], window: Sequence[date], top: int
) -> list[str]:
    """A name, its fields (neighbours of one colour are one), and its last value."""
    width = (WIDTH - NAMES - RIGHT) / max(len(window), 1)
    levels = [None if day not in values else sum(values[day] > bound for bound in bounds) for day in window]
    told = [f'<text x="8" y="{top + ROW - 4}">{escape(name)}</text>']
    at = 0
    for level, group in groupby(levels):
        count = len(list(group))
        if level is not None:
            x, wide = NAMES + at * width, count * width
            told.append(f'<rect x="{x:.1f}" y="{top}" width="{wide:.1f}" height="{ROW - 2}" fill="{LEVELS[level]}"/>')
        at += count
    last = values.get(window[-1])
    if last is not None:
        color = ALARM if last > bounds[-1] else FADED
        told.append(f'<text x="{WIDTH - RIGHT + 8}" y="{top + ROW - 4}" fill="{color}">{_number(last)}</text>')
    return told


def _canvas(title: str, height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="16" font-weight="bold">{escape(title)}</text>',
    ]


def _image(title: str, drawn: Sequence[str]) -> Markdown:
    svg = "".join([*drawn, "</svg>"])
    return Markdown(f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})")


def _line(
    name: str, values: Mapping[date, float], scale: tuple[float | None, float | None], days: Sequence[date], top: int
) -> list[str]:
    """A name, its line, and the last day's value: red where it is over the limit, the first of the scale; the other is its end."""
    limit, end = scale
    most = (max([*values.values(), limit or 0]) or 1) if end is None else end
    bottom = top + HEIGHT
    last = values.get(days[-1])
    color = ALARM if limit is not None and last is not None and last > limit else INK

    def place(day: date, value: float) -> tuple[float, float]:
        share = days.index(day) / max(len(days) - 1, 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT), bottom - min(value / most, 1) * HEIGHT

    points = [place(day, value) for day, value in sorted(values.items())]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    told = [
        f'<text x="8" y="{top + 22}">{escape(name)}</text>',
        f'<line x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}" stroke="#e2e8f0"/>',
        f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{color}"/>' for x, y in points if len(points) <= DOTTED),
    ]
    if last is not None:
        told.append(f'<text x="{WIDTH - RIGHT + 8}" y="{top + 22}" fill="{color}">{_number(last)}</text>')
    if end is None:
        told.append(f'<text x="{WIDTH - RIGHT + 8}" y="{top + 9}" fill="{FADED}">0 … {_number(most)}</text>')
    if limit is not None:
        y = bottom - limit / most * HEIGHT
        told.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{ALARM}" stroke-dasharray="3 3"/>'
        )
    return told


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"  # noqa: PLR2004
