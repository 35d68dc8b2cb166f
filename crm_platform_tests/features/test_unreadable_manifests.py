"""An old training set whose manifest cannot be read: named wherever sets are gone through, and in nobody's way."""

import json

import pytest

from crm_platform.features.recipes import TrainingError
from crm_platform.features.shelf import manifests_in
from crm_platform.features.training import build_training_set, pinned_versions, stored_set, training_set_as_of
from crm_platform_tests.features.scenario import LEADS, MANIFEST, WATERMARK, at, lead, write
from crm_platform_tests.features.test_training import NAME, build, build_timeline_of_leads, passed
from crm_platform_tests.features.test_training import lake as lake  # noqa: PLC0414  a fixture

EARLIER = at(4, 8)


@pytest.fixture
def old(lake):
    """Where an older set lies, beside a newer one that passed its checks; features were written twice."""
    found = build(lake, watermark=EARLIER)
    passed(lake, found)
    write(lake, "lead", [*LEADS, lead("L7", at(3, 3), status="new")])
    build_timeline_of_leads(lake)
    passed(lake, build(lake))
    return found.path


def broken(path, content):
    (path / "manifest.json").write_bytes(content)


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "json_invalid"), (b'{"id": "00', "json_invalid"), (b"{}", "missing"), (b"\xff\xfe", "json_invalid")],
)
def test_the_next_build_names_it_and_goes_on(lake, old, content, why):
    broken(old, content)
    told = []
    report = build_training_set(lake, MANIFEST, NAME, watermark=WATERMARK, progress=told.append)
    assert stored_set(lake, NAME).manifest.id == report.manifest.id
    (named,) = [one for one in told if "cannot be read" in one]
    assert named.startswith(f"training/lead_conversion/{old.name}: its manifest.json cannot be read ({why}). ")
    assert f"Put the file back, or move {old} away" in named


def test_no_vacuum_waits_for_it_and_the_others_keep_their_pins(lake, old):
    assert pinned_versions(lake) == {"features/lead": {0, 1}, "history/lead": {0, 1}}
    broken(old, b"{")
    told = []
    assert pinned_versions(lake, told.append) == {"features/lead": {1}, "history/lead": {1}}
    assert len(told) == 1


def test_one_of_another_release_keeps_its_pins_all_the_same(lake, old):
    manifest = json.loads((old / "manifest.json").read_bytes())
    broken(old, json.dumps(manifest | {"a_later_field": 1}).encode())
    told = []
    assert pinned_versions(lake, told.append) == {"features/lead": {0, 1}, "history/lead": {0, 1}}
    assert told == []
    assert list(manifests_in(old.parent, told.append)) == [stored_set(lake, NAME).manifest.id]
    assert "(extra_forbidden)" in told[0]


def test_sets_as_of_a_moment_are_found_without_it_and_it_is_refused_by_its_own_id(lake, old):
    assert training_set_as_of(lake, NAME, at(4, 15) - (at(4, 2) - at(4, 1))).manifest.id == old.name
    broken(old, b"")
    assert training_set_as_of(lake, NAME, at(4, 15)).manifest.id == stored_set(lake, NAME).manifest.id
    with pytest.raises(
        TrainingError, match=f"{old.name} is not what was built under this id: its manifest.json is none"
    ):
        stored_set(lake, NAME, old.name)


def test_a_set_that_is_built_again_under_its_id_mends_it(lake, old):
    newest = stored_set(lake, NAME).path
    broken(newest, b"")
    assert build(lake).is_new
    assert newest.name in manifests_in(old.parent)
