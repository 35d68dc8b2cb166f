"""`crm-platform alerts`: what is open, muted by a person until a moment, and heard of again."""

from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from crm_platform.alerts import Book, Problem, attempted, delivered, keep_book, load_book, mutes, with_news
from crm_platform.cli import main
from crm_platform.lake import Lake, audit_log

T = datetime(2026, 3, 4, 3, tzinfo=UTC)
FAILED = Problem(kind="check_failed", subject="history/lead contract", place="2026-03-01", since=T, section="contract")


@pytest.fixture
def lake(tmp_path):
    (tmp_path / "crm_platform.yaml").write_text("source: sandbox\nlake: lake\nfirst_day: 2026-03-01\n")
    lake = Lake(tmp_path / "lake")
    book = Book(read_to=T, problems=(FAILED,))
    ledger = attempted(with_news(book.ledger("on-call"), book.open, (), T, target="on-call", runbook="r"), T)
    keep_book(lake, book.model_copy(update={"ledgers": {"on-call": ledger}}))
    return lake


def said(lake, *arguments):
    """What the command says, and how it ends."""
    config = str(lake.uri("gate/red").replace("lake/gate/red", "crm_platform.yaml"))
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["alerts", *arguments, "--config", config])
    assert "Traceback" not in done.output
    return " ".join(done.output.split()), done.exit_code


def test_what_is_open_and_what_waits_is_listed(lake):
    told, code = said(lake, "list")
    assert code == 0
    for word in ("history/lead", "contract", "2026-03-01", "on-call", "1 wrong", "2026-03-04 03:00:30"):
        assert word in told


def test_who_did_not_get_the_last_message_is_listed_until_one_reaches_everybody(lake):
    book = load_book(lake)
    for left_out in ("not for 1 of its 2 recipients", ""):
        keep_book(lake, book.model_copy(update={"ledgers": {"team": delivered(book.ledger("on-call"), left_out)}}))
        told, code = said(lake, "list")
        assert (code, "1 wrong" in told) == (0, False)
        assert ("not for 1 of its 2 recipients" in told) is (left_out != "")


def test_a_mute_is_listed_with_who_and_until_when_and_ends_when_said_so(lake):
    pattern = "check_failed: history/lead*"
    assert said(lake, "mute", pattern, "--until", "2999-01-01", "--why", "known", "--by", "ann")[1] == 0
    listed = said(lake, "list")[0]
    assert "2999-01-01" in listed
    assert "ann" in listed
    assert [one.why for one in mutes(lake, T)] == ["known"]
    assert said(lake, "unmute", pattern, "--by", "bob")[1] == 0
    assert "ann" not in said(lake, "list")[0]
    assert audit_log(lake).select("actor", "action", "subject").rows() == [
        ("ann", "alerts.mute", pattern),
        ("bob", "alerts.unmute", pattern),
    ]


def test_a_mute_that_is_over_already_and_one_that_is_not_there_are_refused(lake):
    told, code = said(lake, "mute", "*", "--until", "2026-03-01", "--why", "x", "--by", "ann")
    assert (code, "would be over already" in told) == (1, True)
    told, code = said(lake, "unmute", "*", "--by", "ann")
    assert (code, "Nothing is muted by '*'" in told) == (1, True)
