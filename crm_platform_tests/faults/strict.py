"""The sandbox's contracts as somebody might have them who knows less of the CRM: too strict in three places."""

from decimal import Decimal

from crm_platform.contracts import sandbox
from crm_platform.contracts.contract import Money, field
from crm_platform.contracts.sandbox import SOURCE

__all__ = ["OBJECTS", "SOURCE"]


class Contact(sandbox.Contact):
    """Wants a direct line of everybody."""

    phone: str = field("Direct line.", pii="phone")


class Activity(sandbox.Activity):
    """Does not know of chats."""

    channel: str = field("Over what it was done.", nullable=True, categories=("phone", "email", "video", "onsite"))


class Opportunity(sandbox.Opportunity):
    """Thinks that no deal is worth over 20,000."""

    amount: Money = field("What it is worth.", nullable=True, ge=Decimal(0), le=Decimal(20_000))


OBJECTS = sandbox.OBJECTS | {"contact": Contact}
