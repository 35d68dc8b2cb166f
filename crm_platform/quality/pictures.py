"""Small pictures for metadata: lines over days as SVG, inside Markdown as an image of its own.

Numbers and names of columns come in, Markdown goes out; no value of a row is ever drawn. Dagster's UI lets Markdown show
images with `data:` addresses and drops inline SVG, so the picture is encoded.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape

from crm_platform.quality.result import Markdown

WIDTH, LEFT, RIGHT, HEIGHT, GAP = 640, 200, 90, 34, 10
INK, FADED, ALARM = "#2b6cb0", "#718096", "#c53030"

DOTTED = 10
"""Up to how many values each has its dot: pictures are kept with every event, and lie there for good."""


def lines_over_days(title: str, series: Mapping[str, Mapping[date, float]], limits: Mapping[str, float]) -> Markdown:
    """One line per name over the same days, each in a scale of its own from 0, with the limit it should stay below.

    Args:
        title: What is drawn, in words.
        series: By name, the values of the days that have one.
        limits: By name, from where on a value is alarming; a name without one has no limit drawn.
    """
    days = sorted({day for values in series.values() for day in values})
    height = 24 + len(series) * (HEIGHT + GAP) + 18
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="8" y="16" font-weight="bold">{escape(title)}</text>',
    ]
    for number, (name, values) in enumerate(series.items()):
        drawn += _line(name, values, limits.get(name), days, 24 + number * (HEIGHT + GAP))
    if days:
        drawn.append(f'<text x="{LEFT}" y="{height - 6}" fill="{FADED}">{days[0]} … {days[-1]}</text>')
    svg = "".join([*drawn, "</svg>"])
    return Markdown(f"![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})")


def _line(name: str, values: Mapping[date, float], limit: float | None, days: Sequence[date], top: int) -> list[str]:
    """A name, its line, and its last value: red where that is over the limit."""
    most = max([*values.values(), limit or 0, 1e-9])
    bottom = top + HEIGHT
    last = values[max(values)] if values else 0.0
    color = ALARM if limit is not None and last > limit else INK

    def place(day: date, value: float) -> tuple[float, float]:
        share = days.index(day) / max(len(days) - 1, 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT), bottom - value / most * HEIGHT

    points = [place(day, value) for day, value in sorted(values.items())]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    told = [
        f'<text x="8" y="{top + 22}">{escape(name)}</text>',
        f'<line x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}" stroke="#e2e8f0"/>',
        f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{color}"/>' for x, y in points if len(points) <= DOTTED),
        f'<text x="{WIDTH - RIGHT + 8}" y="{top + 22}" fill="{color}">{_number(last)}</text>',
    ]
    if limit is not None:
        y = bottom - limit / most * HEIGHT
        told.append(
            f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{ALARM}" stroke-dasharray="3 3"/>'
        )
    return told


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"  # noqa: PLR2004
