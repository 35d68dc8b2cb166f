"""Merge facts are derived from versions: a merge gives one, an undelete a null one."""

from crm_platform.contracts import MERGES
from crm_platform.history.merges import merges_from
from crm_platform.history.versions import versions_from
from crm_platform_tests.scenario import COMPANY, CREATED, FELLED, LIFE, LINKS, landed


def facts(*rows: dict):
    return merges_from(versions_from(landed(*rows).lazy(), COMPANY).kept, "company").collect()


def test_a_merge_and_its_undoing_are_two_facts():
    found = facts(*LIFE)
    assert found.rows() == LINKS
    assert found.schema == MERGES


def test_no_other_operation_gives_a_fact():
    assert facts(CREATED, FELLED).is_empty()
