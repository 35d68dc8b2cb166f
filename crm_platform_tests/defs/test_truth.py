"""The history that comes out of the whole graph agrees with what the sandbox knows to be true, on both axes."""

from collections import Counter

import polars as pl
import pytest

from crm_platform.contracts import contracts_in
from crm_platform.history import state_as_of
from crm_platform.lake import Lake
from crm_platform.sandbox import SandboxConfig, generated
from crm_platform.sandbox.truth import Truth
from crm_platform_tests.pipeline import FIRST, run_days, sandbox_at, settings_in

DAYS = 30
PAIRS = 1000
SANDBOX = {"days": DAYS, "accounts": 40}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A lake after one run of everything, and the truth behind it."""
    folder = tmp_path_factory.mktemp("truth")
    with sandbox_at(folder / "sandbox", **SANDBOX) as base_url:
        settings = settings_in(folder, base_url, DAYS)
        assert run_days(settings, FIRST, settings.last_day)
    config = SandboxConfig(first_day=FIRST, extra_days=5, folder=folder / "sandbox", **SANDBOX)
    return Lake(settings.lake_root), Truth(generated(config)), config


def shown(versions, probe):
    """The fields that history shows of an entity, of the edits up to one moment recorded up to another."""
    rows = versions.filter(
        pl.col("entity_id") == probe.entity_id,
        pl.col("event_time") <= probe.event_time,
        pl.col("processed_time") <= probe.commit_time,
    )
    living = state_as_of(rows, max(probe.event_time, probe.commit_time))
    return None if living.is_empty() else living.row(0, named=True)


def test_history_shows_what_was_true_and_known_at_a_thousand_random_pairs(built):
    lake, truth, config = built
    contracts = contracts_in("crm_platform.contracts.sandbox")
    histories = {
        name: lake.scan(f"history/{name}", schema=contract.history_schema).collect()
        for name, contract in contracts.items()
    }
    wrong, answers = [], Counter()
    for probe in truth.probes(PAIRS, until=config.opening_head):
        expected = truth.at(probe.object, probe.entity_id, event_time=probe.event_time, commit_time=probe.commit_time)
        found = shown(histories[probe.object], probe)
        alive = expected is not None and not expected.is_deleted
        answers["alive" if alive else "dead or unknown"] += 1
        fields = {name: expected.fields[name] for name in contracts[probe.object].columns} if alive else None
        if (found is None) != (fields is None) or (fields and {name: found[name] for name in fields} != fields):
            wrong.append(probe)
    assert wrong == []
    assert answers.total() == PAIRS
    assert min(answers.values()) > 50


def test_merge_facts_are_those_the_crm_made(built):
    lake, truth, config = built
    known = {
        (name, fact.loser_id, fact.winner_id, fact.event_time, fact.commit_time)
        for name in ("account", "contact")
        for fact in truth.merges(name)
        if fact.commit_time <= config.opening_head
    }
    found = set(
        lake.scan("history/merges")
        .select("object", "loser_id", "winner_id", "event_time", "processed_time")
        .collect()
        .iter_rows()
    )
    merged = {fact for fact in known if fact[2] is not None}
    assert merged
    assert {fact for fact in found if fact[2] is not None} == merged
