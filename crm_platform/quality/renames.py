"""Which added column a removed one has become: suggested where names and values say so, and doubted where they disagree.

Pure but for `before`, which hands in what the last good export held. Whether the suggestion is followed is policy.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from crm_platform.contracts import Contract
from crm_platform.landing.typed import TEXT_KIND, typed
from crm_platform.quality.fitting import misfit

ALIKE = 0.6
"""From which likeness of names on an added column is taken for a removed one, if its values do not speak against it."""

COMMON = 0.5
"""From which share of common values on a likely name is believed; or declared values, whatever the name."""

SAME = 0.9
"""From which share of entities with an equal value on a column is believed to be the old one, whatever its name."""

TELLING = 5
"""Entities that both exports must hold with a value, and distinct values among them, for equality to say anything."""

Before = Callable[[str], pl.DataFrame]
"""The last good export's key and one column, as `key` and `value`; no rows where there is none."""


@dataclass(frozen=True)
class Suggestion:
    """A delivered column that a missing one seems to have become, and what beside its name says so."""

    name: str
    why: str = ""


def nothing_before(_: str) -> pl.DataFrame:
    """What is known of earlier exports where none has landed."""
    return pl.DataFrame(schema={"key": pl.String(), "value": pl.Null()})


def other_name(
    contract: Contract, name: str, delivered: pl.DataFrame, added: Sequence[str], before: Before
) -> Suggestion | None:
    """The added column that a missing one has become, if one looks like it.

    Args:
        contract: What the missing column was.
        name: The missing column.
        delivered: The export.
        added: Its columns that the contract does not know.
        before: What the last good export held in the missing column.
    """
    fitting = [other for other in added if misfit(contract.schema[name], delivered.get_column(other)) is None]
    if not fitting:
        return None
    held = before(name)
    equal = {other: share_equal(contract, name, delivered, other, held) for other in fitting}
    same = {other: share for other, share in equal.items() if share is not None and share >= SAME}
    if same:
        best = max(same, key=lambda other: (same[other], _likeness(name, other)))
        return Suggestion(best, f": {same[best]:.0%} of the entities have the value they had")
    open_to_doubt = [other for other in fitting if (share := equal[other]) is None or share >= COMMON]
    near = difflib.get_close_matches(name, open_to_doubt, n=1, cutoff=ALIKE)
    if near:
        return Suggestion(near[0])
    allowed = contract.categories.get(name)
    if allowed:
        shares = {other: _share_in(delivered.get_column(other), allowed) for other in fitting}
        best = max(shares, key=lambda other: shares[other])
        if shares[best] >= COMMON:
            return Suggestion(best)
    return None


def share_equal(
    contract: Contract, name: str, delivered: pl.DataFrame, other: str, before: pl.DataFrame
) -> float | None:
    """The share of entities in both exports whose new column equals the old one; None where too few can tell."""
    if before.is_empty() or contract.key not in delivered.columns:
        return None
    wanted = contract.schema[name]
    found = delivered.get_column(other)
    value = typed(pl.col(other), pl.lit(TEXT_KIND), wanted)[0] if found.dtype == pl.String() else pl.col(other)
    now = delivered.select(
        pl.col(contract.key).cast(pl.String).alias("key"), value.cast(wanted, strict=False).alias("now")
    )
    both = now.join(before.drop_nulls(), on="key").drop_nulls()
    if both.height < TELLING or both.get_column("value").n_unique() < TELLING:
        return None
    return float(both.select((pl.col("now") == pl.col("value")).mean()).item())


def _likeness(name: str, other: str) -> float:
    return difflib.SequenceMatcher(None, name, other).ratio()


def _share_in(values: pl.Series, allowed: Sequence[str]) -> float:
    held = values.drop_nulls()
    return float(held.cast(pl.String).is_in(allowed).mean() or 0) if held.dtype == pl.String else 0.0  # pyright: ignore[reportArgumentType]  a share is a number
