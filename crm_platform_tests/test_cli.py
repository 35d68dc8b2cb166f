"""The crm-platform command: it teaches, it says what is wrong in one sentence, and running it twice changes nothing."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from crm_platform.cli import main
from crm_platform.lake import Lake
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


def test_ingesting_a_log_twice_writes_no_version_of_any_table(tmp_path):
    first = ingest(tmp_path / "lake")
    assert first.exit_code == 0, first.output
    lake = Lake(tmp_path / "lake")
    before = versions(lake), contents(lake)
    assert lake.rows("history/merges") == 39
    assert len(list((tmp_path / "lake/training/lead_conversion").glob("*/training_set.parquet"))) == 1
    again = ingest(tmp_path / "lake")
    assert again.exit_code == 0, again.output
    assert (versions(lake), contents(lake)) == before


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
