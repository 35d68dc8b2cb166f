"""Puts other rows into a stored training set: as a build that went wrong would, or as somebody would behind its back."""

import hashlib

import polars as pl

from crm_platform.features.shelf import MANIFEST, PARQUET, TrainingSet


def built_with(found: TrainingSet, frame: pl.DataFrame) -> None:
    """The set holds these rows, and its manifest says so: as if they had been built."""
    behind_its_back(found, frame)
    told = hashlib.sha256((found.path / PARQUET).read_bytes()).hexdigest()
    manifest = found.manifest.model_copy(update={"parquet_sha256": told, "rows": frame.height})
    (found.path / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def behind_its_back(found: TrainingSet, frame: pl.DataFrame) -> None:
    """The set's file holds these rows, and its manifest knows nothing of it."""
    frame.write_parquet(found.path / PARQUET)
