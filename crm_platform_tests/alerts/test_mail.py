"""Mail over a real server with STARTTLS and a login: what it takes, and what is said of what it does not."""

import logging
import socket
import traceback
from contextlib import contextmanager

import pytest
from aiosmtpd.smtp import AuthResult

from crm_platform.alerts import Email, TargetError, send
from crm_platform_tests.alerts.certificates import certified
from crm_platform_tests.alerts.receivers import smtp_receiver
from crm_platform_tests.alerts.test_targets import MESSAGE, free_port

USER, PASSWORD = "crm-alerts", "correct horse 7"
SECRETS = {"SMTP_USER": USER, "SMTP_PASSWORD": PASSWORD}
LOGIN = {"username_env": "SMTP_USER", "password_env": "SMTP_PASSWORD"}


class Door:
    """Lets one user in, by one password; remembers who asked, and whether it was in secret."""

    def __init__(self):
        self.asked = []

    def __call__(self, _server, session, _envelope, mechanism, given):
        self.asked.append((mechanism, given.login.decode(), session.ssl is not None))
        told = (given.login.decode(), given.password.decode())
        return AuthResult(success=told == (USER, PASSWORD), handled=False)


def target(port, **more):
    told = {"host": "127.0.0.1", "port": port, "sender": "crm@example.org", "recipients": ("on-call@example.org",)}
    return Email.model_validate({"kind": "email", "name": "team", **told, **more})


@contextmanager
def mail_server(folder, **more):
    """A server that wants STARTTLS and a login, as a provider's does; its port, mails and door."""
    told = certified(folder)
    door = Door()
    wanted = {"tls_context": told.server, "require_starttls": True, "authenticator": door, "auth_required": True}
    with smtp_receiver(**{**wanted, **more}) as (port, taken):
        yield port, taken, door, told.authority


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Such a server, whose certificate this machine trusts."""
    with mail_server(tmp_path) as (port, taken, door, authority):
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        yield port, taken, door


def refused(to, secrets, caplog):
    """What is said of a mail that did not go out; never a secret."""
    caplog.set_level(logging.DEBUG, "crm_platform")
    with pytest.raises(TargetError) as failure:
        send(to, MESSAGE, secrets)
    said = str(failure.value)
    assert said.startswith("The alert target 'team' did not take a message: ")
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("crm_platform")]
    for secret in (*secrets.values(), "127.0.0.1", "example.org"):
        assert secret not in "\n".join((said, *logged, *traceback.format_exception(failure.value)))
    return said


def test_a_mail_goes_out_encrypted_after_a_login(server):
    port, taken, door = server
    send(target(port, **LOGIN), MESSAGE, SECRETS)
    ((sender, recipients, mail),) = taken
    assert (sender, recipients) == ("crm@example.org", ["on-call@example.org"])
    assert "Subject: crm_platform: 1 wrong" in mail
    assert [(user, in_secret) for _, user, in_secret in door.asked] == [(USER, True)]


def test_a_login_that_is_refused_names_the_variables_and_gives_nothing_away(server, caplog):
    port, taken, _ = server
    said = refused(target(port, **LOGIN), {**SECRETS, "SMTP_PASSWORD": "yesterday's"}, caplog)
    assert (
        "it refused the login (535); look what the environment variables SMTP_USER and SMTP_PASSWORD hold. It is tried "
        "again" in said
    )
    assert taken == []


def test_a_server_that_wants_a_login_and_gets_none_says_so_of_the_sender(server, caplog):
    port, taken, _ = server
    said = refused(target(port), {}, caplog)
    assert "it refused the sender (530); look at sender in crm_platform.yaml, and whether it wants a login" in said
    assert taken == []


def test_a_mail_that_should_be_encrypted_does_not_go_out_in_the_clear(caplog):
    with smtp_receiver(authenticator=Door(), auth_require_tls=False) as (port, taken):
        said = refused(target(port, **LOGIN), SECRETS, caplog)
    assert "it offers no STARTTLS, and the target asks for it; name the port that does (often 587)" in said
    assert taken == []


def test_a_server_that_takes_no_login_is_not_given_one(tmp_path, monkeypatch, caplog):
    told = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(told.authority))
    with smtp_receiver(tls_context=told.server, auth_exclude_mechanism=("LOGIN", "PLAIN")) as (port, taken):
        said = refused(target(port, **LOGIN), SECRETS, caplog)
    assert "it offers no login by CRAM-MD5, LOGIN, PLAIN; leave username_env and password_env away" in said
    assert taken == []


def test_a_certificate_that_nobody_vouches_for_stops_before_the_login(tmp_path, caplog):
    with mail_server(tmp_path) as (port, taken, door, _):
        said = refused(target(port, **LOGIN), SECRETS, caplog)
    assert "its certificate is not trusted; have this machine trust who signed it (SSL_CERT_FILE" in said
    assert "(self-signed certificate)" in said
    assert (taken, door.asked) == ([], [])


def test_a_certificate_of_another_host_stops_before_the_login(tmp_path, monkeypatch, caplog):
    told = certified(tmp_path, address="127.0.0.9")
    monkeypatch.setenv("SSL_CERT_FILE", str(told.authority))
    door = Door()
    with smtp_receiver(tls_context=told.server, authenticator=door) as (port, taken):
        said = refused(target(port, **LOGIN), SECRETS, caplog)
    assert "its certificate is that of another host; let host in crm_platform.yaml be a name that it is" in said
    assert (taken, door.asked) == ([], [])


def test_a_variable_of_the_login_that_is_not_set_is_named(server, caplog):
    port, taken, door = server
    said = refused(target(port, **LOGIN), {"SMTP_USER": USER}, caplog)
    assert "the environment variable SMTP_PASSWORD is not set" in said
    assert (taken, door.asked) == ([], [])


def test_a_password_that_no_login_can_carry_is_said_by_its_variable(server, caplog):
    port, taken, door = server
    said = refused(target(port, **LOGIN), {**SECRETS, "SMTP_PASSWORD": "cheval bleuté"}, caplog)
    assert "the environment variables SMTP_USER and SMTP_PASSWORD hold letters that no login carries" in said
    assert (taken, door.asked) == ([], [])


def test_recipients_that_are_refused_are_not_named(tmp_path, monkeypatch, caplog):
    with mail_server(tmp_path) as (port, taken, _, authority):
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        nobody = target(port, **LOGIN, recipients=("nobody@example.org",))
        said = refused(nobody, SECRETS, caplog)
    assert "it refused every recipient (550); look at recipients in crm_platform.yaml" in said
    assert taken == []


def test_recipients_that_are_refused_beside_others_are_told_by_their_place_and_the_others_get_the_mail_once(server):
    port, taken, _ = server
    recipients = ("on-call@example.org", "nobody@example.org", "Team <team@example.org>", "nobody@example.com")
    said = send(target(port, **LOGIN, recipients=recipients), MESSAGE, SECRETS)
    assert said == (
        "The mail server of the alert target 'team' took a message, but not for 2 of its 4 recipients: in the order of "
        "crm_platform.yaml, number 2 (550), 4 (550). It is not sent again, since the others have it; correct these recipients."
    )
    assert [to for _, to, _ in taken] == [["on-call@example.org", "team@example.org"]]
    assert send(target(port, **LOGIN), MESSAGE, SECRETS) == ""


def test_a_server_that_is_not_there_says_where_to_look(caplog):
    said = refused(target(free_port(), starttls=False), {}, caplog)
    assert "ConnectionRefusedError; look at host and port in crm_platform.yaml" in said


def test_a_server_that_says_nothing_is_given_up_after_a_while(monkeypatch, caplog):
    monkeypatch.setattr("crm_platform.alerts.targets.SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = refused(target(silent.getsockname()[1]), {}, caplog)
    assert "it hung up, or said nothing for 0.5 s; look at host and port in crm_platform.yaml" in said
