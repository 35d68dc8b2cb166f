"""Messages arrive over real HTTP and SMTP; what fails is said without a URL, an address or an answer's text."""

import logging
import socket
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from crm_platform.alerts import AlertSettings, Email, Ledger, Problem, TargetError, Webhook, send, with_news
from crm_platform_tests.alerts.receivers import http_receiver, smtp_receiver

T = datetime(2026, 3, 4, 3, tzinfo=UTC)
ONE = Problem(
    kind="check_failed",
    subject="history/lead <contract>",
    place="2026-03-01",
    since=T,
    section="contract",
    command="do it",
)
MESSAGE = with_news(Ledger(), {ONE.key: ONE}, (), T, target="t", runbook="docs/runbook.md").pending


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_a_webhook_gets_the_whole_message_as_json():
    with http_receiver() as received:
        send(Webhook(kind="webhook", name="t", url_env="HOOK"), MESSAGE, {"HOOK": received.url})
    ((path, headers, body),) = received
    assert path == "/services/T0/SECRET"
    assert headers["Idempotency-Key"] == body["id"] == MESSAGE.id
    assert body == {
        "id": MESSAGE.id,
        "title": "crm_platform: 1 wrong",
        "queued_at": "2026-03-04T03:00:00Z",
        "wrong": [
            {
                "kind": "check_failed",
                "subject": "history/lead <contract>",
                "places": ["2026-03-01"],
                "how_many": 1,
                "since": "2026-03-04T03:00:00Z",
                "how_much": "",
                "runbook": "docs/runbook.md#contract",
                "command": "do it",
            }
        ],
        "well": [],
        "left_out": 0,
    }


def test_slack_gets_words_with_its_signs_escaped():
    with http_receiver() as received:
        send(Webhook(kind="slack", name="t", url_env="HOOK"), MESSAGE, {"HOOK": received.url})
    assert received[0][2] == {
        "text": "*crm_platform: 1 wrong*\n• check_failed: history/lead &lt;contract&gt; on 2026-03-01, since 2026-03-04 03:00 "
        "UTC. See docs/runbook.md#contract. Then: do it"
    }


def test_a_mail_arrives_with_an_id_that_stays():
    with smtp_receiver() as (port, taken):
        to = Email(
            kind="email",
            name="t",
            host="127.0.0.1",
            port=port,
            starttls=False,
            sender="a@x.org",
            recipients=("b@x.org",),
        )
        send(to, MESSAGE, {})
    ((sender, recipients, mail),) = taken
    assert (sender, recipients) == ("a@x.org", ["b@x.org"])
    assert "Subject: crm_platform: 1 wrong" in mail
    assert f"Message-ID: <{MESSAGE.id}@crm-platform>" in mail


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500])
def test_an_answer_that_is_no_success_is_an_error_without_the_url(status, caplog):
    caplog.set_level(logging.INFO)
    with http_receiver(status) as received, pytest.raises(TargetError, match=f"it answered {status}") as failure:
        send(Webhook(kind="slack", name="t", url_env="HOOK"), MESSAGE, {"HOOK": received.url})
    assert len(received) == 1
    assert "SECRET" not in str(failure.value) + caplog.text


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/SECRET", "no url SECRET", "ftp://SECRET", "http://[SECRET"])
def test_a_target_that_cannot_be_reached_is_an_error_without_the_url(url):
    told = url.format(port=free_port())
    with pytest.raises(TargetError) as failure:
        send(Webhook(kind="webhook", name="t", url_env="HOOK"), MESSAGE, {"HOOK": told})
    assert "SECRET" not in str(failure.value)


def test_a_variable_that_is_not_set_is_named():
    with pytest.raises(TargetError, match="the environment variable HOOK is not set"):
        send(Webhook(kind="webhook", name="t", url_env="HOOK"), MESSAGE, {})


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"username_env": "U"}, "go together"),
        ({"username_env": "U", "password_env": "P", "starttls": False}, "only sent over starttls"),
    ],
)
def test_a_mail_target_that_would_give_a_password_away_is_refused(more, why):
    told = {"kind": "email", "name": "t", "host": "h", "sender": "a@x", "recipients": ["b@x"], **more}
    with pytest.raises(ValidationError, match=why):
        AlertSettings.model_validate({"targets": [told]})


def test_two_targets_of_one_name_are_refused():
    one = {"kind": "slack", "name": "t", "url_env": "HOOK"}
    with pytest.raises(ValidationError, match="names of their own"):
        AlertSettings.model_validate({"targets": [one, one]})
