"""What the simulator writes: the same every time, in order, true to its contracts, and full of awkward things."""

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crm_platform.contracts import contracts_in
from crm_platform.sandbox import SandboxConfig, generated
from crm_platform.sandbox.vocabulary import COLUMNS

OBJECTS = ("account", "contact", "lead", "opportunity", "activity", "owner")


def bytes_of(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def rows_of(folder: Path) -> pl.DataFrame:
    """What all objects share, in the order of the log."""
    shared = [
        "_place",
        "_offset",
        "_visible",
        "_commit",
        "_event",
        "_txn",
        "_order",
        "_operation",
        "_hidden",
        "_hard",
        "id",
    ]
    frames = [
        pl.read_parquet(folder / of / "*.parquet", columns=shared).with_columns(object=pl.lit(of)) for of in OBJECTS
    ]
    return pl.concat(frames).sort("_place")


@pytest.fixture(scope="module")
def default_rows(default_config) -> pl.DataFrame:
    return rows_of(generated(default_config))


def test_equal_configurations_give_equal_bytes(small, tmp_path):
    once = generated(small(folder=tmp_path / "a"))
    again = generated(small(folder=tmp_path / "b"))
    assert bytes_of(once) == bytes_of(again)
    assert len(bytes_of(once)) == 7  # one segment of six objects, and the index


def test_another_seed_gives_another_history(small, tmp_path):
    config = small(folder=tmp_path, seed=8)
    assert config.fingerprint != small().fingerprint
    assert bytes_of(generated(config)) != bytes_of(generated(small()))


def test_a_log_that_is_there_is_taken_as_it_is(small):
    folder = generated(small())
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert generated(small()) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_what_is_only_served_differently_shares_one_log(small):
    assert small(speed=60, retention_days=3, faults=["rate_limited"]).fingerprint == small().fingerprint
    assert small(faults=["late_commits"]).fingerprint != small().fingerprint


def test_a_longer_simulation_begins_like_a_shorter_one(small, tmp_path):
    short = rows_of(generated(small()))
    longer = rows_of(generated(small(folder=tmp_path, extra_days=12)))
    assert longer.head(short.height).equals(short)
    assert longer.height > short.height


def test_small_segments_hold_the_same_log(small, tmp_path):
    whole = rows_of(generated(small()))
    pieces = generated(small(folder=tmp_path), segment_rows=200)
    assert rows_of(pieces).equals(whole)
    assert len(json.loads((pieces / "index.json").read_text())["segments"]) == 8


def test_offsets_follow_the_commits_without_a_hole(default_rows):
    assert default_rows.get_column("_offset").to_list() == list(range(1, default_rows.height + 1))
    assert default_rows.get_column("_commit").is_sorted()
    assert default_rows.filter(pl.col("_event") > pl.col("_commit")).height == 0
    assert default_rows.group_by("_txn").agg(pl.col("_commit").n_unique().alias("n")).get_column("n").max() == 1
    assert default_rows.group_by("_txn", "_order").len().get_column("len").max() == 1


def test_the_default_is_small_and_holds_every_kind_of_change(default_config, default_rows):
    assert 20_000 < default_rows.height < 30_000
    assert default_rows.get_column("_commit").min() == datetime(2026, 3, 1, 0, 1, 1, tzinfo=UTC)
    assert default_rows.get_column("_commit").max() < default_config.opening_head
    counts = dict(default_rows.group_by("_operation").len().iter_rows())
    least = {"create": 15_000, "update": 4000, "delete": 200, "undelete": 60, "merge": 15}
    assert {operation: counts[operation] >= count for operation, count in least.items()} == dict.fromkeys(least, True)
    assert default_rows.get_column("_hard").sum() > 30
    backdated = default_rows.filter(pl.col("_event") < pl.col("_commit") - timedelta(hours=1))
    assert set(backdated["object"]) == {"account", "activity", "lead", "opportunity"}
    assert backdated.height > 400
    assert default_rows.group_by("_txn").len().get_column("len").max() > 100


def test_accounts_merge_in_chains_and_come_apart_again(default_config):
    accounts = pl.read_parquet(generated(default_config) / "account" / "*.parquet")
    merges = accounts.filter(pl.col("_operation") == "merge")
    winners, losers = set(merges["_merged_into"]), set(merges["id"])
    assert len(winners & losers) >= 3
    unmerged = accounts.filter((pl.col("_operation") == "undelete") & pl.col("id").is_in(list(losers)))
    assert unmerged.height >= 2
    assert unmerged["_merged_into"].null_count() == unmerged.height


def test_contacts_merge_into_a_third_one_in_one_transaction(default_config):
    contacts = pl.read_parquet(generated(default_config) / "contact" / "*.parquet")
    born = contacts.filter((pl.col("_operation") == "create") & pl.col("merged_ids").is_not_null())
    assert born.height > 8
    for new in born.select("_txn", "_commit", "_event", "merged_ids").iter_rows(named=True):
        closed = contacts.filter((pl.col("_txn") == new["_txn"]) & (pl.col("_operation") == "delete"))
        assert closed.height == 2
        assert set(closed["id"]) <= set(new["merged_ids"])
        assert closed["_commit"].unique().to_list() == [new["_commit"]]
        assert closed["_event"].unique().to_list() == [new["_event"]]
    assert born["merged_ids"].list.len().max() > 2


def test_activities_are_logged_late_and_planned_ahead(default_config):
    activities = pl.read_parquet(generated(default_config) / "activity" / "*.parquet")
    created = activities.filter(pl.col("_operation") == "create")
    late = created.filter(pl.col("occurred_at") < pl.col("_event") - timedelta(days=1)).height / created.height
    planned = created.filter(pl.col("occurred_at") > pl.col("_event")).height / created.height
    assert 0.06 < late < 0.10
    assert 0.06 < planned < 0.10
    edits = activities.filter(pl.col("_operation") == "update")
    assert edits.filter(pl.col("lead_id").is_not_null()).height > 10
    writes_subject = (pl.col("_mask") & (1 << list(COLUMNS["activity"]).index("subject"))) != 0
    assert edits.filter(writes_subject & pl.col("subject").is_null()).height > 10


@pytest.mark.parametrize("of", OBJECTS)
def test_every_full_image_keeps_its_contract(default_config, of):
    contract = contracts_in("crm_platform.contracts.sandbox")[of]
    rows = pl.read_parquet(generated(default_config) / of / "*.parquet")
    images = rows.filter(pl.col("_operation").is_in(["create", "undelete"])).select(contract.columns)
    assert images.height > 0
    assert dict(images.schema) == dict(contract.table_schema("current"))
    assert contract.check(images, "current").failures.height == 0


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """How often a positive has a higher score than a negative; ties count half."""
    ranks = pl.Series(score).rank("average").to_numpy()
    n = positive.sum()
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (~positive).sum()))


def test_conversion_can_be_learnt_honestly_and_faked_with_later_knowledge(default_config):
    folder = generated(default_config)
    leads = pl.read_parquet(folder / "lead" / "*.parquet")
    activities = pl.read_parquet(folder / "activity" / "*.parquet").filter(
        (pl.col("_operation") == "create") & pl.col("lead_id").is_not_null()
    )
    as_of = datetime(2026, 3, 26, tzinfo=UTC)
    known = leads.filter(pl.col("_commit") <= as_of)
    settled = known.filter(pl.col("status").is_in(["converted", "disqualified"])).select("id")
    pending = known.filter(pl.col("_operation") == "create").select("id").join(settled, on="id", how="anti")
    converted = leads.filter(pl.col("converted_at").is_between(as_of, as_of + timedelta(days=30), closed="right"))
    positive = pending["id"].is_in(converted["id"].to_list()).to_numpy()

    def calls(until: datetime) -> np.ndarray:
        done = activities.filter(pl.col("_commit") <= until).group_by("lead_id").len()
        return pending.join(done, left_on="id", right_on="lead_id", how="left")["len"].fill_null(0).to_numpy()

    assert 0.15 < positive.mean() < 0.35
    assert 0.65 < auc(calls(as_of), positive) < 0.80
    assert auc(calls(as_of + timedelta(days=30)), positive) > 0.88


MEMORY = """
import resource, sys
from pathlib import Path
from crm_platform.sandbox import SandboxConfig, generated
for accounts in (300, 2400):
    config = SandboxConfig(accounts=accounts, days=20, extra_days=0, folder=Path(sys.argv[1]))
    generated(config, segment_rows=5_000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_eight_times_the_changes_do_not_need_eight_times_the_memory(tmp_path):
    ran = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, check=True)
    few, many = map(int, ran.stdout.split())  # megabytes at most, so far
    assert many - few < 40
    rows = [json.loads(path.read_text())["rows"] for path in tmp_path.glob("*/index.json")]
    assert max(rows) > 50_000
    assert min(rows) < 7_000


def test_a_head_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="timezone"):
        SandboxConfig(head=datetime(2026, 3, 5))  # noqa: DTZ001  that is the point


def test_a_fault_that_names_a_field_the_sandbox_lacks_is_refused():
    with pytest.raises(ValueError, match=r"no field opportunity\.worth"):
        SandboxConfig(faults={"schema_change": {"rename": {"worth": "value"}}})
    with pytest.raises(ValueError, match="no_such_fault"):
        SandboxConfig(faults=["no_such_fault"])
