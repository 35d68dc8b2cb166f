"""The columns of activities as numbers, read once for all stretches of entities: amounts, codes, and version order.

What is done with them stands in `windows`. A value is read from the version that a stretch shows, by its row.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from crm_platform.features.sums import Amounts, amounts_of
from crm_platform.features.views import Distinct, FeatureView, Max, Mean, Min, Std, Sum
from crm_platform.history.codes import Codes, Ints
from crm_platform.history.registers import TIMES


@dataclass
class Columns:
    """The activities' versions, and what was computed of their columns already."""

    rows: pl.DataFrame
    _codes: dict[str, Ints] = field(default_factory=dict[str, Ints])
    _amounts: dict[tuple[str, bool], Amounts] = field(default_factory=dict[tuple[str, bool], Amounts])

    def prepare(self, view: FeatureView) -> None:
        """Reads all that a view's features need, so that afterwards many threads may only look."""
        for feature in view.over_activities:
            column = str(feature.column)
            if isinstance(feature, Sum | Mean | Std):
                amounts = self.amounts(column, squarable=isinstance(feature, Std))
                if isinstance(feature, Mean | Std):
                    _ = amounts.given
                if isinstance(feature, Std):
                    _ = amounts.squares
            elif isinstance(feature, Distinct | Min | Max):
                self.codes(column)

    def holding(self, columns: Sequence[str]) -> "Columns":
        """The same, of whose versions only some columns are held."""
        return replace(self, rows=self.rows.select(columns))

    def shown(self, column: str, winners: Ints) -> pl.Series:
        """A column's values at rows; null at -1."""
        picked = pl.Series(winners)
        return self.rows[column].gather(picked.set(picked < 0, None) if len(winners) and winners.min() < 0 else picked)

    def codes(self, column: str) -> Ints:
        """A column's values as numbers in their own order, from 1; 0 for null. One per row."""
        if column not in self._codes:
            values = self.rows[column]
            if values.dtype == pl.String:
                self._codes[column] = Codes.of(values).encode(values) + 1
            else:
                self._codes[column] = values.rank("dense").fill_null(0).to_numpy().astype(np.int64)
        return self._codes[column]

    def amounts(self, column: str, *, squarable: bool = False) -> Amounts:
        """A column's values for exact sums. One per row."""
        if (column, squarable) not in self._amounts:
            self._amounts[column, squarable] = amounts_of(self.rows[column], squarable=squarable)
        return self._amounts[column, squarable]

    @property
    def times(self) -> tuple[Ints, Ints]:
        """event_time and processed_time (µs). One per row."""
        event, processed = (self.rows[name].to_physical().to_numpy() for name in TIMES)
        return event, processed

    def positions(self, rows: Ints) -> Ints:
        """The source_position of rows as numbers in their own order; the lowest for null."""
        return self.rows["source_position"].gather(pl.Series(rows)).rank("dense").fill_null(0).to_numpy()


def at_rows(values: Ints, winners: Ints) -> Ints:
    """Numbers at rows; 0 at row -1."""
    if not len(values):
        return np.zeros(len(winners), dtype=np.int64)
    found = np.take(values, winners, mode="wrap")
    if len(winners) and winners.min() < 0:
        found[winners < 0] = 0
    return found
