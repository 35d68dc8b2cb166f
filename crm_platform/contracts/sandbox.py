"""What the sandbox CRM's objects look like: one model per object, its key, meanings, PII classes and ranges.

How the sandbox makes such rows stands in `crm_platform.sandbox`; which column plays which role stands in its manifest.
"""

from decimal import Decimal

import polars as pl

from crm_platform.contracts.contract import Moment, Money, ObjectModel, TextList, field

SOURCE = "sandbox"

CURRENCIES = ("EUR", "USD", "GBP")
INDUSTRIES = ("software", "manufacturing", "retail", "health", "finance", "logistics", "energy", "education")
COUNTRIES = ("DE", "FR", "GB", "US", "NL", "ES", "SE", "PL")
TIERS = ("strategic", "growth", "standard")
REGIONS = ("north", "south", "east", "west")
LEAD_SOURCES = ("web", "event", "referral", "outbound", "partner")
LEAD_STATUSES = ("new", "working", "qualified", "converted", "disqualified")
STAGES = ("prospecting", "qualification", "proposal", "negotiation", "closed_won", "closed_lost")
KINDS = ("call", "email", "meeting", "task")
CHANNELS = ("phone", "email", "video", "onsite", "chat")
OUTCOMES = ("reached", "no_answer", "positive", "neutral", "negative")
NOTHING = Decimal(0)


class Account(ObjectModel):
    """A company that is, was or may become a customer."""

    id: str = field("The CRM's own id.", key=True)
    name: str = field("What the company is called.")
    domain: str = field("The domain of its web site.", nullable=True)
    industry: str = field("Its line of business.", categories=INDUSTRIES)
    country: str = field("Where it sits, as ISO 3166 alpha-2.", categories=COUNTRIES)
    tier: str = field("How closely it is looked after.", categories=TIERS)
    employees: int = field("How many people it employs.", nullable=True, ge=1)
    annual_revenue: Money = field("What it turns over in a year.", nullable=True, ge=NOTHING)
    currency: str = field("The currency of its money columns.", categories=CURRENCIES)
    phone: str = field("Its switchboard.", nullable=True, pii="phone")
    billing_address: str = field("Where invoices go.", nullable=True, pii="address")
    owner_id: str = field("Who looks after it.")
    created_at: Moment = field("When it was entered.")
    modified_at: Moment = field("When it was last edited.")


class Contact(ObjectModel):
    """A person at an account."""

    id: str = field("The CRM's own id.", key=True)
    account_id: str = field("The company the person works for.", nullable=True)
    first_name: str = field("Given name.", pii="name")
    last_name: str = field("Family name.", pii="name")
    email: str = field("Business address.", nullable=True, pii="email")
    phone: str = field("Direct line.", nullable=True, pii="phone")
    title: str = field("What the person does there.", nullable=True)
    owner_id: str = field("Who looks after the person.")
    merged_ids: TextList = field("The older contacts that this one was merged from.", nullable=True, pii="identifier")
    created_at: Moment = field("When it was entered.")
    modified_at: Moment = field("When it was last edited.")


class Lead(ObjectModel):
    """Somebody who may become a customer, before a company is known."""

    id: str = field("The CRM's own id.", key=True)
    name: str = field("The person's full name.", pii="name")
    company: str = field("Where the person says they work.")
    email: str = field("How to write to them.", nullable=True, pii="email")
    phone: str = field("How to call them.", nullable=True, pii="phone")
    source: str = field("What brought them in.", categories=LEAD_SOURCES)
    status: str = field("How far they have come.", categories=LEAD_STATUSES)
    employees: int = field("How large their company is said to be.", nullable=True, ge=1)
    owner_id: str = field("Who works on them.")
    converted_at: Moment = field("When they became a customer; known only afterwards.", nullable=True)
    account_id: str = field("The account they became; known only afterwards.", nullable=True)
    contact_id: str = field("The contact they became; known only afterwards.", nullable=True)
    opportunity_id: str = field("The deal they became; known only afterwards.", nullable=True)
    created_at: Moment = field("When it was entered.")
    modified_at: Moment = field("When it was last edited.")


class Opportunity(ObjectModel):
    """A deal that somebody hopes to close."""

    id: str = field("The CRM's own id.", key=True)
    name: str = field("What the deal is called.", pii="free_text")
    account_id: str = field("Whom it is sold to.", nullable=True)
    contact_id: str = field("Who decides there.", nullable=True)
    lead_id: str = field("The lead it came from.", nullable=True)
    owner_id: str = field("Who sells it.")
    stage: str = field("How far it has come.", categories=STAGES)
    amount: Money = field("What it is worth.", nullable=True, ge=NOTHING)
    currency: str = field("The currency of the amount.", categories=CURRENCIES)
    probability: float = field("The seller's guess that it will be won, 0 to 1.", nullable=True, ge=0, le=1)
    close_date: pl.Date = field("The day on which it should close.", nullable=True)
    is_closed: bool = field("Whether it is won or lost.")
    created_at: Moment = field("When it was entered.")
    modified_at: Moment = field("When it was last edited.")


class Activity(ObjectModel):
    """Something a seller did or plans to do: a call, a mail, a meeting, a task."""

    id: str = field("The CRM's own id.", key=True)
    kind: str = field("What was done.", categories=KINDS)
    channel: str = field("Over what it was done.", nullable=True, categories=CHANNELS)
    subject: str = field("What it was about.", nullable=True, pii="free_text")
    outcome: str = field("How it went.", nullable=True, categories=OUTCOMES)
    occurred_at: Moment = field("When it took place or is planned: business time, not the time of the edit.")
    duration_minutes: int = field("How long it took.", nullable=True, ge=0)
    amount: Money = field("The value that was discussed.", nullable=True, ge=NOTHING)
    currency: str = field("The currency of the value discussed.", nullable=True, categories=CURRENCIES)
    account_id: str = field("The company it concerned.", nullable=True)
    contact_id: str = field("The person it was with.", nullable=True)
    lead_id: str = field("The lead it was with.", nullable=True)
    opportunity_id: str = field("The deal it was about.", nullable=True)
    owner_id: str = field("Who did it.")
    created_at: Moment = field("When it was entered.")
    modified_at: Moment = field("When it was last edited.")


class Owner(ObjectModel):
    """A member of the sales organisation."""

    id: str = field("The CRM's own id.", key=True)
    name: str = field("Full name.", pii="name")
    email: str = field("Business address.", pii="email")
    region: str = field("Where the person sells.", categories=REGIONS)
    is_active: bool = field("Whether the person still works here.")
    created_at: Moment = field("When it was entered.")
    modified_at: Moment = field("When it was last edited.")


OBJECTS: dict[str, type[ObjectModel]] = {
    "account": Account,
    "contact": Contact,
    "lead": Lead,
    "opportunity": Opportunity,
    "activity": Activity,
    "owner": Owner,
}
