"""Keeping people's data out of what a check shows: examples and sentences are masked before anybody is told.

One place for it, whatever a check puts into an example: columns that a contract classes as personal, and what looks like
an e-mail address or a telephone number anywhere else.
"""

import re
from collections.abc import Collection, Iterable

import polars as pl

from crm_platform.contracts import Contract

MASK = "•••"
PERSONAL = r"[^\s@,;:<>()'\"]+@[^\s@,;:<>()'\"]+\.[A-Za-z]{2,}|\+\d[\d\s().-]{6,}\d"
"""An e-mail address, or a telephone number in international form."""


def personal_columns(contracts: Iterable[Contract]) -> frozenset[str]:
    """The columns that any of the contracts classes as personal."""
    return frozenset(name for contract in contracts for name, kind in contract.pii.items() if kind != "none")


def masked(examples: pl.DataFrame, personal: Collection[str]) -> pl.DataFrame:
    """Examples without anybody's data: personal columns masked whole, texts where they show an address or a number.

    Args:
        examples: A few rows, any columns; lists count as texts.
        personal: The columns that hold personal data, by name.
    """
    nested = [name for name, dtype in examples.schema.items() if dtype.is_nested()]
    flat = examples.with_columns(pl.Series(name, [str(cell) for cell in examples[name].to_list()]) for name in nested)
    hidden = [
        pl.when(pl.col(name).is_not_null()).then(pl.lit(MASK)).alias(name) for name in flat.columns if name in personal
    ]
    texts = [name for name, dtype in flat.schema.items() if dtype == pl.String and name not in personal]
    shown = [pl.col(name).str.replace_all(PERSONAL, MASK) for name in texts]
    return flat.with_columns(*hidden, *shown)


def masked_text(sentence: str) -> str:
    """A sentence without addresses and telephone numbers."""
    return re.sub(PERSONAL, MASK, sentence)
