"""Every work at a tiny size: whatever takes part runs, and answers as ours does."""

import polars as pl
import pytest
from click.testing import CliRunner

from crm_platform_tests.benchmarks import measuring
from crm_platform_tests.benchmarks.contest import Contestant, Foreign, Local, Work
from crm_platform_tests.benchmarks.environment import AbsentError, python_with
from crm_platform_tests.benchmarks.machine import REPOSITORY
from crm_platform_tests.benchmarks.made_files import LAYOUTS, Size
from crm_platform_tests.benchmarks.results import Results
from crm_platform_tests.benchmarks.running import run_once
from crm_platform_tests.benchmarks.works import WORKS

TINY = Size(3_000)
PLENTY = (120.0, 4e9)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


def answered(work, contestant, folder, scratch, *, is_at_once, layout="activity"):
    made = work.made(folder, TINY, layout, is_at_once)
    found = contestant.how.ready({**made, "scratch": scratch})()
    return work.tidy(found) if contestant.answers else None


LOCAL = [(work.name, one.who) for work in WORKS.values() for one in work.contestants if isinstance(one.how, Local)]
FOREIGN = [(work.name, one.who) for work in WORKS.values() for one in work.contestants if isinstance(one.how, Foreign)]


@pytest.mark.parametrize(("name", "who"), LOCAL)
def test_what_is_measured_gives_the_answers_of_its_peers(name, who, folder, tmp_path):
    work = WORKS[name]
    contestant = next(one for one in work.contestants if one.who == who)
    theirs = answered(work, contestant, folder, tmp_path, is_at_once=bool(contestant.limits))
    if contestant.answers:
        ours = answered(work, work.ours, folder, tmp_path, is_at_once=bool(contestant.limits))
        assert ours.height == 300
        assert measuring.differing(theirs, ours) == ""


@pytest.mark.parametrize(("name", "who"), FOREIGN)
def test_a_peer_in_an_environment_of_its_own_gives_the_answers_of_ours(name, who, folder, tmp_path):
    work = WORKS[name]
    contestant = next(one for one in work.contestants if one.who == who)
    python = python_with(REPOSITORY / "data" / "bench")
    is_at_once, answer = bool(contestant.limits), tmp_path / "answer.parquet"
    took = run_once(
        work, contestant, TINY, folder=folder, layout="activity", limits=PLENTY, python=python, is_at_once=is_at_once,
        answer=answer,
    )  # fmt: skip
    assert took["seconds"] > 0
    assert took["peak"] > 10_000_000
    ours = answered(work, work.ours, folder, tmp_path, is_at_once=is_at_once)
    assert measuring.differing(work.tidy(pl.read_parquet(answer)), ours) == ""


def test_both_layouts_of_activities_give_one_answer(folder, tmp_path):
    work = WORKS["windows-awkward"]
    first, second = (answered(work, work.ours, folder, tmp_path, is_at_once=False, layout=layout) for layout in LAYOUTS)
    assert measuring.differing(first, second) == ""


def test_one_axis_answers_otherwise_where_rows_come_late(folder, tmp_path):
    work = WORKS["versions"]
    duckdb = next(one for one in work.contestants if one.who == "DuckDB ASOF")
    ours = answered(work, work.ours, folder, tmp_path, is_at_once=False)
    theirs = answered(work, duckdb, folder, tmp_path, is_at_once=False)
    assert "different" in measuring.differing(theirs, ours)


def contest(results, folder, work, rounds=1):
    python = AbsentError("installing failed: no network")
    return measuring.Contest(
        work, Size(1_000), results, folder=folder, layout="activity", rounds=rounds, limits=PLENTY, python=python
    )


def test_what_is_measured_is_kept_and_not_measured_again(folder, tmp_path):
    results = Results(tmp_path / "results.jsonl", "abc", "here")
    work = Work("training", "", WORKS["training"].made, WORKS["training"].contestants[:1])
    assert contest(results, folder, work).measure()
    kept = results.path.read_text()
    assert [one["kind"] for one in results.lines()] == ["run"]
    assert contest(results, folder, work).measure()
    assert results.path.read_text() == kept
    assert contest(results, folder, work, rounds=2).measure()
    assert [one["kind"] for one in results.lines()] == ["run", "run"]
    assert results.path.read_text().startswith(kept)


def test_a_peer_without_an_environment_is_said_to_be_absent(folder, tmp_path):
    results = Results(tmp_path / "results.jsonl", "abc", "here")
    assert contest(results, folder, WORKS["training"]).measure()
    about = ("training", "Feast, DuckDB store", 1_000, "activity")
    assert results.said("absent", *about) == "installing failed: no network"
    assert not results.of("run", *about)


def test_who_answers_otherwise_is_not_timed_and_the_contest_is_not_sound(folder, tmp_path):
    results = Results(tmp_path / "results.jsonl", "abc", "here")
    ours, reader = WORKS["join"].ours, WORKS["join"].contestants[-1]
    wrong = Work("join", "", WORKS["join"].made, (ours, Contestant(reader.who, reader.how)))
    assert not contest(results, folder, wrong).measure()
    assert results.said("answer", "join", "bare read", 1_000, "activity").startswith("DIFFERS")
    assert not results.of("run", "join", "bare read", 1_000, "activity")


def test_the_command_teaches():
    printed = " ".join(CliRunner().invoke(measuring.main, ["--help"]).output.split())
    assert "is not measured again" in printed
    assert "--only windows-even --rounds 3 --layout account" in printed


def test_the_command_measures_what_it_is_asked_for_and_names_what_it_was_not(tmp_path):
    asked = ["--rows", "1000", "--rounds", "1", "--only", "windows-awkward", "--folder", str(tmp_path / "bench")]
    page = measuring.PAGE.read_text()
    done = CliRunner().invoke(measuring.main, asked)
    assert done.exit_code == 0
    assert "### 1,000 versions, 20 entities, 100 questions" in done.output
    assert "Feast, DuckDB store |  |  |  |  | not measured: not yet |" in done.output
    assert (tmp_path / "bench" / "results.jsonl").exists()
    assert measuring.PAGE.read_text() == page
