"""The selections of docs/selections.md resolve to what their lines say."""

import re
from pathlib import Path

import dagster as dg
import pytest

from crm_platform.defs.assembly import build_defs
from crm_platform.defs.settings import load_settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "selections.md").read_text(encoding="utf-8")
SELECTIONS = re.findall(r"^\| (?!what for).* \| `(.+)` \|$", PAGE, re.MULTILINE)
OBJECTS = ("account", "activity", "contact", "lead", "opportunity", "owner")
TIMELINES = ("account", "contact", "lead", "opportunity")


def keys(room, names):
    return {f"{room}/{name}" for name in names}


HISTORY = keys("history", (*OBJECTS, "merges"))
LANDED = keys("landing/changes", OBJECTS) | keys("landing/snapshot", OBJECTS)
READ = keys("current", OBJECTS) | keys("features", TIMELINES) | {"training/lead_conversion"}
AFTER_LEAD = {"history/lead", "history/merges", "gate/red", "maintenance"} | READ

EXPECTED = {
    "group:history": HISTORY | keys("current", OBJECTS),
    'key:"landing/snapshot/lead"+': {"landing/snapshot/lead"} | AFTER_LEAD,
    'key:"history/lead"+1': {
        "history/lead",
        "history/merges",
        "current/lead",
        "features/lead",
        "training/lead_conversion",
    },
    '+key:"features/lead"': {"features/lead"} | HISTORY | LANDED,
    'key:"*/lead"': {"landing/changes/lead", "landing/snapshot/lead", "history/lead", "current/lead", "features/lead"},
    'key:"landing/changes/lead" or key:"landing/snapshot/lead" or key:"history/lead"+': {
        "landing/changes/lead",
        "landing/snapshot/lead",
    }
    | AFTER_LEAD,
    'key:"landing/changes/activity"+ and +key:"training/lead_conversion"': {
        "landing/changes/activity",
        "history/activity",
        "history/merges",
        "features/lead",
        "training/lead_conversion",
    },
    'key:"landing/*"': LANDED,
    'key:"current/*" or key:"features/*" or key:"training/*"': READ,
    "sinks(group:features or group:training)": {
        "features/account",
        "features/contact",
        "features/opportunity",
        "training/lead_conversion",
    },
}


@pytest.fixture(scope="module")
def graph():
    return build_defs(load_settings(ROOT / "crm_platform.yaml")).resolve_asset_graph()


def test_the_page_names_exactly_what_is_tested():
    assert list(EXPECTED) == SELECTIONS


@pytest.mark.parametrize("selection", EXPECTED)
def test_a_selection_resolves_to_what_the_page_says(graph, selection):
    found = dg.AssetSelection.from_string(selection).resolve(graph)
    assert {"/".join(key.path) for key in found} == EXPECTED[selection]


def test_every_group_that_the_page_names_is_there(graph):
    (line,) = re.findall(r"everything of a group: (.+?) \| `group", PAGE)
    assert sorted(re.findall(r"`(\w+)`", line)) == sorted(
        {graph.get(key).group_name for key in graph.get_all_asset_keys()}
    )
