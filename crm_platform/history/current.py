"""The living entities as known at a moment, for plain SQL: full images, the object's own columns and nothing else."""

import polars as pl

from crm_platform.contracts import Contract


def current_from(state: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """The rows of `current/<object>`.

    Args:
        state: One row per living entity as known at the watermark: entity_id and the object's columns.
        contract: The object's contract.

    Returns:
        One row per living entity in the contract's columns, by key; the key stands even where no known version wrote it.
    """
    key = pl.col("entity_id").cast(contract.schema[contract.key])
    return state.with_columns(key.alias(contract.key)).select(list(contract.current_schema)).sort(contract.key)
