"""The audit log: one chain, and every change of it is found."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import polars as pl
import pytest

from crm_platform.lake import Lake, audit, audit_log
from crm_platform.lake.errors import AuditChainError

AT = datetime(2026, 3, 7, 6, 30, 0, 5, tzinfo=UTC)


def test_entries_follow_each_other_and_say_who_did_what(tmp_path):
    lake = Lake(tmp_path)
    audit(
        lake,
        actor="ana",
        action="snapshot.skip",
        subject="landing/snapshot/account",
        detail={"day": "2026-03-05"},
        at=AT,
    )
    audit(lake, actor="run-7", action="quarantine.release", subject="quarantine/account", at=AT)
    log = audit_log(lake)
    assert log.select("sequence", "actor", "action", "detail").rows() == [
        (1, "ana", "snapshot.skip", '{"day": "2026-03-05"}'),
        (2, "run-7", "quarantine.release", "{}"),
    ]
    assert log.get_column("previous").to_list() == ["0" * 64, log.item(0, "hash")]
    assert log.item(0, "at") == AT


def test_an_empty_log_is_a_whole_one(tmp_path):
    assert audit_log(Lake(tmp_path)).height == 0


def test_entries_written_at_once_still_form_one_chain(tmp_path):
    lake = Lake(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: audit(lake, actor=f"w{number}", action="a", subject="s"), range(8)))
    assert sorted(audit_log(lake).get_column("actor").to_list()) == [f"w{number}" for number in range(8)]


@pytest.mark.parametrize(
    "change",
    [
        pl.when(pl.col("sequence") == 2).then(pl.lit("eve")).otherwise("actor").alias("actor"),
        pl.when(pl.col("sequence") == 2).then(pl.lit(json.dumps({"day": 1}))).otherwise("detail").alias("detail"),
        (pl.col("at") + pl.duration(microseconds=1)).alias("at"),
    ],
)
def test_a_changed_entry_is_found(tmp_path, change):
    lake, forged = Lake(tmp_path / "true"), Lake(tmp_path / "forged")
    for number in range(3):
        audit(lake, actor=f"w{number}", action="a", subject="s", at=AT)
    forged.append("audit/log", audit_log(lake).with_columns(change), token="t")
    with pytest.raises(AuditChainError, match=r"breaks at entry [12]"):
        audit_log(forged)


def test_a_missing_entry_is_found(tmp_path):
    lake, forged = Lake(tmp_path / "true"), Lake(tmp_path / "forged")
    for number in range(3):
        audit(lake, actor=f"w{number}", action="a", subject="s", at=AT)
    forged.append("audit/log", audit_log(lake).filter(pl.col("sequence") != 2), token="t")
    with pytest.raises(AuditChainError, match="breaks at entry 2"):
        audit_log(forged)
