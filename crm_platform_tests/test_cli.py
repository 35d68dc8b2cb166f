"""The crm-platform command: it teaches, it says what is wrong in one sentence, and running it twice changes nothing."""

import gzip
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import click
import httpx
import polars as pl
import pytest
from click.testing import CliRunner

from crm_platform.cli import main
from crm_platform.features import training_set
from crm_platform.lake import Lake
from crm_platform.sandbox import Faults
from crm_platform_tests.pipeline import contents, versions

LOG = Path(__file__).parents[1] / "data/samples/bottlecrm/events.jsonl.gz"


def commands(group, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def ingest(lake, *more, source="bottlecrm", log=LOG):
    return CliRunner().invoke(main, ["ingest", "--source", source, "--from", str(log), "--lake", str(lake), *more])


@pytest.mark.parametrize(("path", "command"), list(commands(main)), ids=str)
def test_every_command_and_every_option_says_what_it_does(path, command):
    shown = CliRunner().invoke(main, [*path, "--help"])
    assert shown.exit_code == 0
    assert len(command.help) > 30
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_every_fault_of_the_sandbox_is_listed_with_what_it_does():
    shown = " ".join(CliRunner().invoke(main, ["sandbox", "--help"]).output.split())
    for name, fault in Faults.model_fields.items():
        assert f"{name}: {get_args(fault.annotation)[0].__doc__}" in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--fault", "nonsense"], "faults.nonsense: there is no such thing. Name one of: late_commits, timestamp_ties"),
        (["--fault", 'result_cap={"rows": 5}'], "faults.result_cap.rows: there is no such thing. Name one of: cap."),
        (
            ["--fault", 'result_cap={"cap": 0}'],
            "faults.result_cap.cap: input should be greater than 0. Give another value.",
        ),
        (["--fault", "result_cap=5 rows"], "faults: the parameters of result_cap are no JSON. Write them such as"),
        (["--accounts", "0"], "accounts: input should be greater than or equal to 1. Give another value."),
        (
            ["--folder", "/dev/null/x"],
            "cannot keep its change log in /dev/null/x: Not a directory. Choose another folder",
        ),
        (["--port", "99999"], "99999 is not in the range 0<=x<=65535"),
    ],
)
def test_a_sandbox_that_cannot_be_is_refused_in_one_sentence(tmp_path, options, said):
    small = ["--accounts", "5", "--days", "2", "--extra-days", "0", "--folder", str(tmp_path)]
    refused = CliRunner().invoke(main, ["sandbox", *small, *options])
    assert refused.exit_code in (1, 2)
    assert said in refused.output.replace("\n", " ")
    assert isinstance(refused.exception, SystemExit)


def test_the_sandbox_says_how_far_it_is_and_serves_what_was_asked_for(tmp_path):
    started = [
        sys.executable,
        "-m",
        "crm_platform.cli",
        "sandbox",
        "--accounts",
        "30",
        "--days",
        "4",
        "--extra-days",
        "6",
    ]
    asked = ["--port", "0", "--folder", str(tmp_path), "--fault", 'result_cap={"cap": 3}']
    with subprocess.Popen([*started, *asked], stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = [process.stdout.readline() for _ in range(12)]
            base_url = lines[-1].split()[-1]
            form = {"grant_type": "client_credentials", "client_id": "sandbox", "client_secret": "sandbox-secret"}
            with httpx.Client(base_url=base_url) as http:
                token = http.post("/oauth/token", data=form).json()["access_token"]
                page = http.get("/api/v1/objects/activity", headers={"Authorization": f"Bearer {token}"}).json()
        finally:
            process.send_signal(signal.SIGINT)
    assert "Simulating 30 accounts over 10 days (seed 7)" in lines[0]
    assert [line.split(maxsplit=1)[1] for line in lines[1:-1]] == [
        f"  day {day} of 10\n" for day in range(1, 11)
    ] or lines
    assert (len(page["records"]), page["next"]) == (3, None)
    assert process.returncode == 0


def test_ingesting_a_log_twice_writes_no_version_of_any_table(tmp_path):
    first = ingest(tmp_path / "lake")
    assert first.exit_code == 0, first.output
    lake = Lake(tmp_path / "lake")
    before = versions(lake), contents(lake)
    assert lake.rows("history/merges") == 39
    assert len(list((tmp_path / "lake/training/lead_conversion").glob("*/training_set.parquet"))) == 1
    assert training_set(lake, "lead_conversion").frame.height > 0
    again = ingest(tmp_path / "lake")
    assert again.exit_code == 0, again.output
    assert (versions(lake), contents(lake)) == before


def cut(lines: list[bytes]) -> bytes:
    return gzip.compress(b"".join(lines))[:-1000]


def torn(lines: list[bytes]) -> bytes:
    return b"".join([*lines[:3000], lines[3000][:50] + b"\n", *lines[3001:]])


def with_a_gap(lines: list[bytes]) -> bytes:
    return b"".join(lines[:3000] + lines[3001:])


@pytest.mark.parametrize(
    ("spoil", "name", "said"),
    [
        (
            cut,
            "cut.jsonl.gz",
            r"LogError: .*cut\.jsonl\.gz, line \d+: the compressed file is cut off or broken\. Mend or",
        ),
        (torn, "torn.jsonl", r"LogError: .*torn\.jsonl, line 3001: no JSON at column \d+\. Mend or re-record the log"),
        (
            with_a_gap,
            "gap.jsonl",
            r"LogError: .*gap\.jsonl, line 3001: .* line 3001 is missing\. .* record that stretch",
        ),
    ],
)
def test_a_spoilt_log_is_refused_with_its_place_and_the_lake_stays_as_it_was(tmp_path, spoil, name, said):
    lines = gzip.decompress(LOG.read_bytes()).splitlines(keepends=True)
    spoilt = tmp_path / name
    spoilt.write_bytes(spoil(lines))
    refused = ingest(tmp_path / "lake", log=spoilt)
    assert refused.exit_code == 1
    assert re.search(said, refused.output.replace("\n", " "))
    assert "Traceback" not in refused.output
    assert not list(tmp_path.glob("lake/**/_delta_log"))


def test_a_log_is_followed_as_it_grows_and_another_one_is_refused(tmp_path):
    lines = gzip.decompress(LOG.read_bytes()).splitlines(keepends=True)
    log, lake = tmp_path / "log.jsonl", Lake(tmp_path / "lake")
    for held, rows in ((lines[:4000], 82), (lines, 206)):
        log.write_bytes(b"".join(held))
        landed = ingest(lake.root, "--no-features", log=log)
        assert landed.exit_code == 0, landed.output
        assert lake.scan("history/opportunity").filter(pl.col("operation") == "create").collect().height == rows
    before = versions(lake)
    log.write_bytes(b"".join(lines[:4000]))
    refused = ingest(lake.root, log=log)
    assert refused.exit_code == 1
    assert "does not continue the log that has landed up to line 10828" in refused.output.replace("\n", " ")
    assert versions(lake) == before


@pytest.mark.parametrize(
    ("source", "log", "said"),
    [
        ("nope", LOG, "There is no manifest 'nope'"),
        ("bottlecrm", LOG.parent / "README.md", "README.md"),
        ("bottlecrm", LOG.parent / "nowhere.jsonl", "nowhere.jsonl"),
    ],
)
def test_bad_input_ends_with_one_sentence_that_names_it_and_commits_nothing(tmp_path, source, log, said):
    refused = ingest(tmp_path / "lake", source=source, log=log)
    assert refused.exit_code == 1
    assert "Traceback" not in refused.output
    assert said in refused.output.replace("\n", "")
    assert not list(tmp_path.glob("lake/**/_delta_log"))
