import re

import pytest

from crm_platform_tests.benchmarks.environment import LOCK, AbsentError, peer_versions, python_with


def test_the_lock_has_hashes_for_everything_and_names_no_host():
    lock = LOCK.read_text()
    packages = [line for line in lock.splitlines() if re.match(r"[a-z0-9]", line)]
    assert len(packages) > 50
    assert all(line.endswith("\\") for line in packages)
    assert "://" not in lock
    assert "--find-links" not in lock
    assert set(peer_versions()) == {"feast", "timefence", "duckdb", "ibis-framework"}


def test_an_environment_that_cannot_be_made_says_why_and_leaves_nothing(tmp_path):
    lock = tmp_path / "wrong.lock"
    lock.write_text("six==1.17.0 --hash=sha256:" + "0" * 64 + "\n")
    with pytest.raises(AbsentError, match="installing failed"):
        python_with(tmp_path / "bench", lock)
    assert list((tmp_path / "bench").iterdir()) == []
