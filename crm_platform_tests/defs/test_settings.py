"""crm_platform.yaml is read strictly, and what is wrong with it is said with the entry's name."""

import datetime as dt

import pytest

from crm_platform.defs.days import partitions_of
from crm_platform.defs.settings import SettingsError, load_settings


def written(folder, text):
    path = folder / "crm_platform.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_settings_cover_sixty_days_of_the_sandbox():
    settings = load_settings()
    assert settings.source == "sandbox"
    assert len(partitions_of(settings).get_partition_keys()) == 60


def test_relative_paths_start_at_the_file(tmp_path):
    path = written(tmp_path, "first_day: 2026-03-01\nlake: here/lake\nconnection: {log: log.jsonl}\n")
    settings = load_settings(path)
    assert settings.lake_root == str(tmp_path / "here/lake")
    assert settings.log_file == tmp_path / "log.jsonl"


def test_the_file_of_the_working_folder_comes_before_the_repositorys(tmp_path, monkeypatch):
    written(tmp_path, "source: bottlecrm\nfirst_day: 2026-01-05\nlast_day: 2026-01-06\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings().source == "bottlecrm"


def test_an_object_store_is_taken_as_it_is(tmp_path):
    settings = load_settings(written(tmp_path, "first_day: 2026-03-01\nlake: s3://bucket/lake\n"))
    assert settings.lake_root == "s3://bucket/lake"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("first_day: 2026-03-01\nlakes: x\n", "lakes"),
        ("first_day: noon\n", "first_day"),
        ("lake: x\n", "first_day"),
        ("first_day: 2026-03-02\nlast_day: 2026-03-01\n", "last_day 2026-03-01 lies before first_day 2026-03-02"),
        ("first_day: [", "it is no YAML"),
        ("- first_day\n", "mapping"),
    ],
)
def test_a_wrong_entry_is_named_with_the_file(tmp_path, text, named):
    path = written(tmp_path, text)
    with pytest.raises(SettingsError, match=named) as refused:
        load_settings(path)
    assert str(path) in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"There is no .*nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml")


def test_without_a_last_day_partitions_run_to_today(tmp_path):
    settings = load_settings(written(tmp_path, "first_day: 2026-03-01\n"))
    today = dt.datetime.now(dt.UTC).date().isoformat()
    assert partitions_of(settings).get_partition_keys()[-1] >= today
