from crm_platform_tests.benchmarks.increments import changes, days


def test_a_days_increment_gives_what_building_at_once_gives(tmp_path):
    found = days([20, 40], tmp_path, accounts=60, activities=30, rounds=3)
    assert set(found[40]) == {"history", "merges", "current", "timeline"}


def test_changes_applied_to_a_history_give_what_a_merge_gives(tmp_path):
    assert len(changes(20_000, tmp_path, changed=300, history_days=20)) == 2
