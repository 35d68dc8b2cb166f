"""Sends one message to one target: HTTP or SMTP, one attempt, a bounded time. When to try again is decided in `news`.

Errors name the target and what kind of thing went wrong, never a URL, an address or an answer's text.
"""

import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import getaddresses
from typing import Any

import httpx

from crm_platform.alerts.news import Message, lines
from crm_platform.alerts.problems import listed
from crm_platform.alerts.settings import Email, Webhook
from crm_platform.contracts import TransientError

SECONDS = 5.0
"""How long connecting, writing and waiting for an answer may take, each."""

NO_STARTTLS = (
    "it offers no STARTTLS, and the target asks for it; name the port that does (often 587), or say starttls: false, without a "
    "login, where the network between is yours"
)
LOGINS = frozenset({"PLAIN", "LOGIN", "CRAM-MD5"})
"""The ways to log in that are known here."""
NO_LOGIN = (
    f"it offers no login by {', '.join(sorted(LOGINS))}; leave username_env and password_env away, or name the port that does "
    "(often 587)"
)
NOT_TRUSTED = "its certificate is not trusted; have this machine trust who signed it (SSL_CERT_FILE names a file of authorities), or renew it"
OTHER_HOST = "its certificate is that of another host; let host in crm_platform.yaml be a name that it is made out to"
OF_ANOTHER_HOST = (62, 64)
"""How OpenSSL counts a certificate for another name, and for another address."""


class TargetError(TransientError):
    """A target did not take a message; it is tried again later."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        super().__init__(
            f"The alert target {name!r} did not take a message: {why}. It is tried again, after a pause that doubles up to an "
            "hour; `crm-platform alerts list` shows what waits."
        )


def send(target: Webhook | Email, message: Message, environment: Mapping[str, str]) -> str:
    """Makes one attempt to deliver a message.

    Returns:
        Who did not get a message that others of the target got, in a sentence: it is not sent again. Empty if all did.

    Raises:
        TargetError: It did not arrive, or nobody said that it did.
    """
    if isinstance(target, Email):
        return _mail(target, message, environment)
    _post(target, message, environment)
    return ""


def body_of(target: Webhook, message: Message) -> dict[str, Any]:
    """What is posted: the whole message, or a text that Slack shows."""
    if target.kind == "slack":
        escaped = "\n".join(f"• {line}" for line in lines(message))
        for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
            escaped = escaped.replace(sign, entity)
        return {"text": f"*{message.title}*\n{escaped}"}
    return message.model_dump(mode="json", exclude={"attempts", "next_at"})


def _post(target: Webhook, message: Message, environment: Mapping[str, str]) -> None:
    """Posts through the bare transport: the client would log the URL, which is the secret, and follow redirects."""
    url = _secret(target.name, target.url_env, environment)
    try:
        request = httpx.Request(
            "POST",
            url,
            json=body_of(target, message),
            headers={"Idempotency-Key": message.id},
            extensions={"timeout": httpx.Timeout(SECONDS).as_dict()},
        )
        with httpx.HTTPTransport(retries=0) as transport:
            answer = transport.handle_request(request)
            answer.close()
    except (httpx.HTTPError, httpx.InvalidURL) as failure:
        raise TargetError(target.name, type(failure).__name__) from None
    if not answer.is_success:
        raise TargetError(target.name, f"it answered {answer.status_code}")


def _mail(target: Email, message: Message, environment: Mapping[str, str]) -> str:
    mail = EmailMessage()
    mail["Subject"] = message.title
    mail["From"] = target.sender
    mail["To"] = ", ".join(target.recipients)
    mail["Date"] = message.queued_at
    mail["Message-ID"] = f"<{message.id}@crm-platform>"
    mail.set_content("\n\n".join(lines(message)))
    try:
        with smtplib.SMTP(target.host, target.port, timeout=SECONDS) as server:
            _enter(server, target, environment)
            refused = server.send_message(mail)
    except (smtplib.SMTPException, OSError) as failure:
        raise TargetError(target.name, _told(failure, target)) from None
    return _left_out(target, {address: code for address, (code, _) in refused.items()})


def _left_out(target: Email, refused: Mapping[str, int]) -> str:
    """Who was refused while others were not, by their places in the settings: addresses belong in no log."""
    if not refused:
        return ""
    places = [
        f"{n} ({refused[address]})"
        for n, recipient in enumerate(target.recipients, start=1)
        for _, address in getaddresses([recipient])
        if address in refused
    ]
    return (
        f"The mail server of the alert target {target.name!r} took a message, but not for {len(places)} of its "
        f"{len(target.recipients)} recipients: in the order of crm_platform.yaml, number {listed(places, 10)}. It is not sent "
        "again, since the others have it; correct these recipients."
    )


def _enter(server: smtplib.SMTP, target: Email, environment: Mapping[str, str]) -> None:
    """Encrypts and logs in, as far as the target asks for it; what the server does not offer is said before it is tried."""
    server.ehlo()
    if target.starttls:
        if not server.has_extn("starttls"):
            raise TargetError(target.name, NO_STARTTLS)
        server.starttls(context=ssl.create_default_context())
        server.ehlo()
    if target.username_env is not None and target.password_env is not None:
        user, password = (_secret(target.name, one, environment) for one in (target.username_env, target.password_env))
        if LOGINS.isdisjoint(server.esmtp_features.get("auth", "").split()):
            raise TargetError(target.name, NO_LOGIN)
        if not (user + password).isascii():
            raise TargetError(target.name, f"{_variables(target)} hold letters that no login carries; use plain ASCII")
        server.login(user, password)


def _told(failure: smtplib.SMTPException | OSError, target: Email) -> str:
    """What went wrong and what to do about it, without a word of the server's: it may repeat what it was given."""
    match failure:
        case smtplib.SMTPAuthenticationError():
            told = f"it refused the login ({failure.smtp_code}); look what {_variables(target)} hold"
        case smtplib.SMTPRecipientsRefused():
            codes = ", ".join(sorted({str(code) for code, _ in failure.recipients.values()}))
            told = f"it refused every recipient ({codes}); look at recipients in crm_platform.yaml"
        case smtplib.SMTPSenderRefused():
            told = f"it refused the sender ({failure.smtp_code}); look at sender in crm_platform.yaml, and whether it wants a login"
        case smtplib.SMTPResponseException():
            told = f"it answered {failure.smtp_code}"
        case ssl.SSLCertVerificationError():
            named = failure.verify_code not in OF_ANOTHER_HOST
            told = f"{NOT_TRUSTED} ({failure.verify_message})" if named else OTHER_HOST
        case smtplib.SMTPServerDisconnected():
            told = f"it hung up, or said nothing for {SECONDS:g} s; look at host and port in crm_platform.yaml"
        case smtplib.SMTPException() | ssl.SSLError():
            told = type(failure).__name__
        case _:
            told = f"{type(failure).__name__}; look at host and port in crm_platform.yaml, and whether the way there is open"
    return told


def _variables(target: Email) -> str:
    return f"the environment variables {target.username_env} and {target.password_env}"


def _secret(name: str, variable: str, environment: Mapping[str, str]) -> str:
    found = environment.get(variable)
    if not found:
        raise TargetError(name, f"the environment variable {variable} is not set")
    return found
