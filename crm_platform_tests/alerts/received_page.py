"""A page that shows what receivers got of an alert, as it came: nothing is added but the frame around it."""

import email
import json
from email import policy
from html import escape

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 28px 36px; color: #1d1c1d; background: #f4f4f5 }
h1 { font-size: 20px; margin: 0 0 18px } h2 { font-size: 14px; margin: 0 0 8px; color: #555; font-weight: 600 }
section { background: #fff; border: 1px solid #d8d8dc; border-radius: 8px; padding: 14px 18px; margin: 0 0 16px }
dl { margin: 0 0 10px; display: grid; grid-template-columns: 110px 1fr } dt { color: #666 } dd { margin: 0 }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, monospace }
"""
HEADERS = ("From", "To", "Subject", "Date", "Message-ID")


def page_of(mails: list, slack: list, webhook: list) -> str:
    """The newest mail, the newest POST of a Slack-compatible receiver and that of a webhook, as HTML."""
    told = [_of_mail(mails[-1]), _of_slack(slack[-1]), _of_webhook(webhook[-1])]
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><h1>One alert, as three receivers got it</h1>{''.join(told)}"


def _of_mail(taken: tuple) -> str:
    mail = email.message_from_string(taken[2], policy=policy.default)
    lines = "".join(f"<dt>{name}</dt><dd>{escape(str(mail[name]))}</dd>" for name in HEADERS)
    return _section("Mail, over SMTP", f"<dl>{lines}</dl><pre>{escape(mail.get_content().strip())}</pre>")


def _of_slack(taken: tuple) -> str:
    return _section("Slack-compatible: the text that was posted", f"<pre>{escape(taken[2]['text'])}</pre>")


def _of_webhook(taken: tuple) -> str:
    _, headers, body = taken
    shown = f"Idempotency-Key: {headers['Idempotency-Key']}\n\n{json.dumps(body, indent=2)}"
    return _section("Webhook: the JSON that was posted", f"<pre>{escape(shown)}</pre>")


def _section(title: str, html: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{html}</section>"
