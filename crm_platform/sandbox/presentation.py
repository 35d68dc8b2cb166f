"""What an object looks like to a client at a moment: its own columns, bent by `schema_change` and `naive_timestamps`.

Which rows are told stands in `feed`, `reads` and `exports`.
"""

from datetime import UTC, datetime, time

import polars as pl

from crm_platform.contracts import contracts_in
from crm_platform.sandbox.faults import Faults, NaiveTimestamps, SchemaChange
from crm_platform.sandbox.vocabulary import OBJECTS
from crm_platform.sandbox.wire import texts

CONTRACTS = contracts_in("crm_platform.contracts.sandbox")
TYPES: dict[type[pl.DataType] | pl.DataType, str] = {
    pl.String: "text",
    pl.Int64: "integer",
    pl.Float64: "number",
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Decimal: "decimal(18,2)",
    pl.Datetime: "timestamp",
    pl.List: "list of text",
}
BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


def since(fault: SchemaChange | NaiveTimestamps) -> datetime:
    """From which moment on a fault shows."""
    return datetime.combine(fault.day, time(), UTC) if fault.day else BEGINNING


class Presentation:
    """The shapes of all objects, as the faults have them."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def turns(self, of: str) -> list[datetime]:
        """The moments at which an object's shape changes, in order."""
        bent = (self.faults.schema_change, self.faults.naive_timestamps)
        return sorted({since(fault) for fault in bent if fault and fault.object == of})

    def change(self, of: str, at: datetime, *, first_page: bool = False) -> SchemaChange | None:
        """The change of shape that shows at a moment; where it comes between two pages, not on the first."""
        fault = self.faults.schema_change
        if not fault or fault.object != of or at < since(fault) or (fault.between_pages and first_page):
            return None
        return fault

    def shaped(self, frame: pl.DataFrame, of: str, at: datetime, *, first_page: bool = False) -> pl.DataFrame:
        """The frame's own columns as they are told at a moment."""
        naive = self.faults.naive_timestamps
        if naive and naive.object == of and at >= since(naive):
            frame = frame.with_columns(pl.col(naive.field).dt.replace_time_zone(None))
        fault = self.change(of, at, first_page=first_page)
        if not fault:
            return frame
        retyped = [name for name in fault.retype if name in frame.columns]
        frame = frame.with_columns(texts(frame.select(retyped)).cast(pl.String)) if retyped else frame
        added = [pl.lit(value).alias(name) for name, value in fault.add.items()]
        return frame.drop(fault.remove, strict=False).with_columns(added).rename(fault.rename, strict=False)

    def renamed(self, names: list[str], of: str, at: datetime) -> list[str]:
        """Field names as they are told at a moment."""
        fault = self.change(of, at)
        if not fault:
            return names
        return [fault.rename.get(name, name) for name in names if name not in fault.remove]

    def original(self, name: str, of: str, at: datetime) -> str:
        """The column behind a name that a client uses."""
        fault = self.change(of, at)
        return {new: old for old, new in fault.rename.items()}.get(name, name) if fault else name

    def described(self, at: datetime) -> list[dict[str, object]]:
        """All objects with their fields, types and nullability."""
        told: list[dict[str, object]] = []
        for of in OBJECTS:
            contract = CONTRACTS[of]
            shown = self.shaped(pl.DataFrame(schema=contract.schema), of, at).schema
            fields = [
                {
                    "name": name,
                    "type": TYPES[dtype.base_type()],
                    "nullable": self.original(name, of, at) not in contract.columns
                    or contract.nullable(self.original(name, of, at)),
                }
                for name, dtype in shown.items()
            ]
            told.append({"name": of, "fields": fields})
        return told
