"""Real processes that write at once, and real kills in the middle of commits."""

import random
import subprocess
import sys
from pathlib import Path

import polars as pl

from crm_platform.lake import Lake, audit_log

WRITERS = Path(__file__).with_name("writers.py")


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(WRITERS), *arguments], stdout=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_lose_nothing_and_land_shared_batches_once(tmp_path):
    writers = [started("write", str(tmp_path), str(number)) for number in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    for writer in writers:
        writer.stdout.close()
    lake = Lake(tmp_path)
    landed = lake.scan("landing/changes/account").group_by("generation").len().sort("generation").collect()
    assert landed.rows() == [(0, 200), (1, 200), (2, 200), (3, 200), (100, 800), (101, 800)]
    history = lake.scan("history/account").group_by("processed_date", "generation").len().collect()
    assert sorted(history.select("generation", "len").rows()) == [(3, 200), (3, 200)]
    assert sorted(audit_log(lake).get_column("actor").to_list()) == ["0"] * 4 + ["1"] * 4


def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new(tmp_path):
    chance = random.Random(11)
    for _ in range(2):
        writer = started("rewrite", str(tmp_path))
        seen = 0
        for _ in range(chance.randint(1, 6)):
            seen = int(writer.stdout.readline())
        writer.kill()
        writer.wait()
        writer.stdout.close()
        lake = Lake(tmp_path)
        for table in ("history/account", "current/account"):
            held = lake.scan(table).group_by("generation").len().collect()
            assert held.height == 1
            assert held.item(0, "generation") >= seen
            assert held.item(0, "len") == 200
        lake.replace("history/account", held_rows(lake), days=lake.days("history/account"))


def held_rows(lake: Lake) -> pl.DataFrame:
    return lake.scan("history/account").collect()
