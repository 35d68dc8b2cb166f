"""A red day under a real `dg dev`: what the alert says when it arrives, what GraphQL answers, what Chromium shows.

What Chromium shows is played by `make test-browser` alone, since it needs a Chromium on the machine.
"""

import email
from email import policy

import pytest

from crm_platform_tests.alerts.received_page import page_of
from crm_platform_tests.browser import browser
from crm_platform_tests.on_call import SNAPSHOT, day, night

DAYS = 4
SUBJECT = "check_failed: landing/snapshot/lead schema_drift on 2026-03-04"
COMMAND = "crm-platform check landing/snapshot/lead schema_drift --from 2026-03-04 --to 2026-03-04"
CHECKS = """
query ($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { assetChecksOrError { ... on AssetChecks { checks {
    name
    partitionStatuses { ... on AssetCheckTimePartitionStatuses { ranges { status startKey endKey } } }
    executionForLatestMaterialization {
      status
      evaluation { success severity description metadataEntries { label ... on TextMetadataEntry { text } } }
    }
  } } } } }
}
"""
TAB = '//*[@role="tab"][contains(., "Partitions")]'


@pytest.fixture(scope="module")
def tonight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("night")
    with night(folder / "here", folder / "sandbox", days=DAYS, accounts=10) as told:
        yield told


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_the_daemon_s_sensor_tells_a_webhook_slack_and_a_mail_server_once_what_is_red_and_what_to_run(tonight):
    ((_, headers, body),) = tonight.webhook
    (wrong,) = [group for group in body["wrong"] if group["subject"] == "landing/snapshot/lead schema_drift"]
    assert (wrong["kind"], wrong["places"], wrong["command"]) == ("check_failed", ["2026-03-04"], COMMAND)
    assert wrong["runbook"] == "docs/runbook.md#schema_drift"
    assert headers["Idempotency-Key"] == body["id"]
    ((_, _, slack),) = tonight.slack
    assert f"• {SUBJECT} (" in slack["text"]
    ((sender, recipients, raw),) = tonight.mails
    mail = email.message_from_string(raw, policy=policy.default)
    assert (sender, recipients) == ("crm-platform@example.org", ["data-team@example.org"])
    assert mail["Subject"] == body["title"]
    assert f"{SUBJECT} (" in mail.get_content()
    assert f"Then: {COMMAND}" in mail.get_content()


def test_graphql_has_one_red_day_in_the_grid_and_the_detail_says_what_to_do(tonight):
    node = tonight.server.ask(CHECKS, key={"path": SNAPSHOT})["assetNodeOrError"]
    checks = {one["name"]: one for one in node["assetChecksOrError"]["checks"]}
    drift = checks["schema_drift"]
    assert drift["partitionStatuses"]["ranges"] == [
        {"status": "SUCCEEDED", "startKey": "2026-03-01", "endKey": "2026-03-03"},
        {"status": "FAILED", "startKey": "2026-03-04", "endKey": "2026-03-04"},
    ]
    said = drift["executionForLatestMaterialization"]["evaluation"]
    told = {entry["label"]: entry.get("text") for entry in said["metadataEntries"]}
    assert not said["success"]
    assert "source renamed: expected source, found origin" in said["description"]
    assert (told["partition"], told["run_again"]) == ("2026-03-04", COMMAND.removesuffix(" --to 2026-03-04"))


def page_of_check(tonight):
    return f"{tonight.server.url}/assets/landing/snapshot/lead?view=checks&checkDetail=schema_drift"


@pytest.mark.browser
def test_chromium_shows_the_check_with_its_rule_its_day_and_the_command(tonight, chrome):
    words = chrome.open(page_of_check(tonight), "schema_drift fails", (1500, 1000))
    for told in (
        "This is a blocking asset check",
        "Runbook: docs/runbook.md#schema_drift",
        "on 2026-03-04",
        "found origin",
        "what is built from it waits from 2026-03-04 on, until that day is well",
        COMMAND.removesuffix(" --to 2026-03-04"),
    ):
        assert told in words


@pytest.mark.browser
def test_chromium_shows_a_grid_with_one_red_day(tonight, chrome):
    words = chrome.open(page_of_check(tonight), "schema_drift fails", (1500, 900), [TAB])
    for told in ("Failed (1)", "Passed (3)", "Missing (0)", "2026-03-04"):
        assert told in words


@pytest.mark.browser
def test_chromium_shows_the_flow_of_tables_by_groups(tonight, chrome):
    words = chrome.open(f"{tonight.server.url}/asset-groups/", "Global asset lineage", (1800, 1150))
    for group in ("landing", "history", "features", "training", "gate", "upkeep"):
        assert group in words


@pytest.mark.browser
def test_chromium_shows_how_far_a_backfill_has_come(tonight, chrome):
    tonight.server.backfill([["history", "lead"]], [day(1), day(2)])
    words = chrome.open(
        f"{tonight.server.url}/runs/b/{tonight.server.newest_backfill()}", "100% completed", (1500, 700)
    )
    for told in ("history / lead", "Succeeded"):
        assert told in words


@pytest.mark.browser
def test_chromium_shows_the_alert_as_it_was_received(tonight, chrome, tmp_path):
    page = tmp_path / "received.html"
    page.write_text(page_of(tonight.mails, tonight.slack, tonight.webhook), encoding="utf-8")
    words = chrome.open(page.as_uri(), "One alert", (1200, 1000))
    for told in ("From\n", "data-team@example.org", SUBJECT, f"• {SUBJECT}", '"command": "' + COMMAND):
        assert told in words
