import pytest

from crm_platform_tests.benchmarks import table
from crm_platform_tests.benchmarks.contest import Contestant, Local, Target, Work, times
from crm_platform_tests.benchmarks.results import Results

NOBODY = Local(lambda _given: None)
WORKS = {
    "join": Work(
        "join",
        "a join",
        lambda *_: {},
        (
            Contestant("ours", NOBODY),
            Contestant("fast", NOBODY),
            Contestant("missing", NOBODY),
            Contestant("hungry", NOBODY),
            Contestant("small", NOBODY, most_rows=500),
            Contestant("wrong", NOBODY),
            Contestant("read", NOBODY, answers=False),
            Contestant("later", NOBODY),
            Contestant("slow", NOBODY),
        ),
        (
            Target("at most 4x a read", times(("join", "ours"), ("join", "read")), 4),
            Target("fast takes at least 2x", times(("join", "fast"), ("join", "ours")), 2, is_least=True),
            Target("later takes at least 2x", times(("join", "later"), ("join", "ours")), 2, is_least=True),
            Target("slow takes at least 5x", times(("join", "slow"), ("join", "ours")), 5, is_least=True),
            Target("slow takes at least 50x", times(("join", "slow"), ("join", "ours")), 50, is_least=True),
        ),
    )
}

BEGIN, END = "<!-- measured: written by make bench, do not edit -->", "<!-- measured: end -->"


@pytest.fixture
def written(tmp_path):
    results = Results(tmp_path / "results.jsonl", "abc", "here")
    for who, seconds in (("ours", 2.0), ("fast", 3.0), ("read", 0.5)):
        results.keep("run", "join", who, 1_000, "activity", seconds=seconds, cpu=1.0, peak=1_500_000_000)
    results.keep("answer", "join", "fast", 1_000, "activity", says="equal")
    results.keep("absent", "join", "missing", 1_000, "activity", why="installing failed: no network")
    results.keep("failed", "join", "hungry", 1_000, "activity", why="ended when it held more than 17 GB", seconds=None)
    results.keep("failed", "join", "slow", 1_000, "activity", why="ended after 30 s", seconds=30.0)
    results.keep("answer", "join", "wrong", 1_000, "activity", says="DIFFERS: values")
    return table.written(results, WORKS, {"commit": "abc"}).splitlines()


def test_everybody_has_a_row_measured_or_not(written):
    assert written[written.index("| work | who | seconds | times ours | peak GB | runs | answer |") + 2 :] == [
        "| join: a join | ours | 2.000 | 1.00 | 1.50 | 1 | the one compared with |",
        "| join: a join | fast | 3.000 | 1.50 | 1.50 | 1 | equal |",
        "| join: a join | missing |  |  |  |  | not measured: installing failed: no network |",
        "| join: a join | hungry |  |  |  |  | not measured: ended when it held more than 17 GB |",
        "| join: a join | small |  |  |  |  | not measured: asked up to 500 versions only |",
        "| join: a join | wrong |  |  |  |  | not measured: DIFFERS: values |",
        "| join: a join | read | 0.500 | 0.25 | 1.50 | 1 | none to compare |",
        "| join: a join | later |  |  |  |  | not measured: not yet |",
        "| join: a join | slow |  |  |  |  | not measured: ended after 30 s |",
    ]


def test_targets_say_whether_they_are_met(written):
    begin = written.index("| work | to reach | reached | |")
    assert written[begin + 2 : begin + 7] == [
        "| join | at most 4x a read | 4.00 | met |",
        "| join | fast takes at least 2x | 1.50 | missed |",
        "| join | later takes at least 2x | not measured |  |",
        "| join | slow takes at least 5x | over 15.00 | met |",
        "| join | slow takes at least 50x | over 15.00 | not known |",
    ]


def test_the_header_names_the_size_and_what_was_measured_with(written):
    assert "- commit: abc" in written
    assert "### 1,000 versions, 20 entities, 100 questions, activities by activity id" in written


@pytest.mark.parametrize(("load", "said"), [(0.5, 0), (3.21, 1)])
def test_a_busy_machine_is_told_of(tmp_path, load, said):
    results = Results(tmp_path / "results.jsonl", "abc", "here", load)
    results.keep("run", "join", "ours", 1_000, "activity", seconds=1.0, cpu=1.0, peak=1)
    found = table.written(results, WORKS, {})
    assert found.count(f"- busy: the machine bore a load of {load:.1f} before we began") == said


def test_only_what_stands_between_the_markers_is_replaced():
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    once = table.placed(page, "| new |")
    assert once == f"before\n{BEGIN}\n\n| new |\n\n{END}\nafter\n"
    assert table.placed(once, "| new |") == once


@pytest.mark.parametrize("page", ["none", f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}"])
def test_a_page_without_a_place_for_the_table_is_refused(page):
    with pytest.raises(table.MarkersError, match="once each and in this order"):
        table.placed(page, "| new |")
