"""Sends one message to one target: HTTP or SMTP, one attempt, a bounded time. When to try again is decided in `news`.

Errors name the target and what kind of thing went wrong, never a URL, an address or an answer's text.
"""

import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any

import httpx

from crm_platform.alerts.news import Message, lines
from crm_platform.alerts.settings import Email, Webhook
from crm_platform.contracts import TransientError

SECONDS = 5.0
"""How long connecting, writing and waiting for an answer may take, each."""


class TargetError(TransientError):
    """A target did not take a message; it is tried again later."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        super().__init__(
            f"The alert target {name!r} did not take a message: {why}. It is tried again, after a pause that doubles up to an "
            "hour; `crm-platform alerts list` shows what waits."
        )


def send(target: Webhook | Email, message: Message, environment: Mapping[str, str]) -> None:
    """Makes one attempt to deliver a message.

    Raises:
        TargetError: It did not arrive, or nobody said that it did.
    """
    if isinstance(target, Email):
        _mail(target, message, environment)
    else:
        _post(target, message, environment)


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


def _mail(target: Email, message: Message, environment: Mapping[str, str]) -> None:
    mail = EmailMessage()
    mail["Subject"] = message.title
    mail["From"] = target.sender
    mail["To"] = ", ".join(target.recipients)
    mail["Date"] = message.queued_at
    mail["Message-ID"] = f"<{message.id}@crm-platform>"
    mail.set_content("\n\n".join(lines(message)))
    try:
        with smtplib.SMTP(target.host, target.port, timeout=SECONDS) as server:
            if target.starttls:
                server.starttls(context=ssl.create_default_context())
            if target.username_env is not None and target.password_env is not None:
                server.login(
                    _secret(target.name, target.username_env, environment),
                    _secret(target.name, target.password_env, environment),
                )
            server.send_message(mail)
    except (smtplib.SMTPException, OSError) as failure:
        raise TargetError(target.name, type(failure).__name__) from None


def _secret(name: str, variable: str, environment: Mapping[str, str]) -> str:
    found = environment.get(variable)
    if not found:
        raise TargetError(name, f"the environment variable {variable} is not set")
    return found
