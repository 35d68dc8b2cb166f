"""Files of the lake that are gone while their log still names them: of what is derived, and of what landed.

Each takes a stage over a healthy lake, as in `injections`.
"""

from pathlib import Path

from crm_platform_tests.faults.injections import RED, Injection, checked
from crm_platform_tests.faults.stage import Stage
from crm_platform_tests.pipeline import versions

LOST_FILES = "landing/changes/account lost_files"
LEADS = "landing/changes/lead"


def lost(table: str, check: str) -> Injection:
    """The files of a day of a table are deleted, and the check is asked that looks for them."""

    def inject(stage: Stage) -> None:
        stage.tick()
        stage.meet()
        for file in stage.lake.files(table, [RED]):
            Path(file).unlink()
        checked(stage, *check.split())

    return inject


def restore(stage: Stage) -> None:
    """What landed is read from the feed once more, and the command that the answer names is given."""
    refused, told = stage.command("rebuild", "--from", RED.isoformat())
    assert refused == 1
    assert f"run `crm-platform landing restore {LEADS}`" in told
    with stage.crm():
        code, answer = stage.command("landing", "restore", LEADS, "--by", "ann")
        assert code == 0, answer
        assert f"crm-platform rebuild --from {RED}" in answer
        for words in (f"rebuild --from {RED}", f"check {LOST_FILES}"):
            code, answer = stage.command(*words.split())
            assert code == 0, answer


def give_up(stage: Stage) -> None:
    """The feed reaches no further back than a day: the rows are given up, and history keeps what it was built from.

    Nothing asks at night for the days to be derived again, which would make history forget them.
    """
    before = versions(stage.lake)
    with stage.crm(like={"retention_days": 1}):
        code, told = stage.command("landing", "restore", LEADS, "--by", "ann")
        assert code == 1
        assert f"`crm-platform landing restore {LEADS} --give-up`" in told
        code, answer = stage.command("landing", "restore", LEADS, "--give-up", "--by", "ann")
        assert code == 0, answer
        assert "0 rows were read again. What was built from them stands as long as nobody rebuilds 2026-03-04" in answer
        code, answer = stage.command("check", *LOST_FILES.split())
        assert code == 0, answer
    assert {table for table, version in versions(stage.lake).items() if before.get(table) != version} == {
        "audit/log",
        LEADS,
    }
    assert not stage.is_stale()
