from crm_platform_tests.benchmarks.contest import Found
from crm_platform_tests.benchmarks.results import Results

ABOUT = ("join", "DuckDB ASOF", 1_000, "activity")


def kept(path, *seconds, commit="abc"):
    results = Results(path / "results.jsonl", commit, "here")
    for one in seconds:
        results.keep("run", *ABOUT, seconds=one, cpu=one, peak=int(one * 1e9))
    return results


def test_the_median_of_the_runs_counts_and_the_highest_peak(tmp_path):
    results = kept(tmp_path, 3.0, 1.0, 2.0)
    assert results.found(1_000, "activity") == {ABOUT[:2]: Found(seconds=2.0, peak=3_000_000_000, runs=3)}
    assert results.found(2_000, "activity") == {}
    assert results.found(1_000, "account") == {}


def test_enough_runs_are_enough_and_a_long_one_is_run_once(tmp_path):
    assert not kept(tmp_path / "few", 1.0, 1.0).is_done(*ABOUT, rounds=3)
    assert kept(tmp_path / "enough", 1.0, 1.0, 1.0).is_done(*ABOUT, rounds=3)
    assert kept(tmp_path / "long", 60.1).is_done(*ABOUT, rounds=3)
    assert not kept(tmp_path / "not long", 59.9).is_done(*ABOUT, rounds=3)


def test_who_failed_is_not_asked_again_and_who_was_absent_is(tmp_path):
    failed, absent = Results(tmp_path / "1", "abc", "here"), Results(tmp_path / "2", "abc", "here")
    failed.keep("failed", *ABOUT, why="ended after 1800 s", seconds=1800.0)
    absent.keep("absent", *ABOUT, why="no network")
    assert failed.is_done(*ABOUT, rounds=3)
    assert not absent.is_done(*ABOUT, rounds=3)


def test_what_another_commit_or_machine_measured_does_not_count(tmp_path):
    kept(tmp_path, 1.0)
    assert kept(tmp_path, commit="def").found(1_000, "activity") == {}
    assert Results(tmp_path / "results.jsonl", "abc", "elsewhere").lines() == []


def test_a_line_cut_off_by_a_kill_is_passed_over(tmp_path):
    results = kept(tmp_path, 1.0)
    with results.path.open("a") as file:
        file.write('{"kind": "run", "work": "jo')
    assert len(results.lines()) == 1
