"""How the simulator's numbers read as text: names, companies, addresses, subjects.

The simulator draws integers; here stands what each column makes of one. All people and companies are invented.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from crm_platform.contracts import sandbox as model

FIRST = [
    "Ada",
    "Bram",
    "Cleo",
    "Dario",
    "Edda",
    "Falk",
    "Gwen",
    "Hugo",
    "Ines",
    "Jonas",
    "Kaya",
    "Liam",
    "Mira",
    "Nils",
    "Olga",
    "Pia",
    "Quin",
    "Rosa",
    "Sven",
    "Tara",
]
LAST = [
    "Abel",
    "Berger",
    "Castell",
    "Dumont",
    "Eriksen",
    "Falke",
    "Garnier",
    "Holm",
    "Ivers",
    "Janssen",
    "Keller",
    "Lindt",
    "Moreau",
    "Novak",
    "Olsen",
    "Petit",
    "Quist",
    "Rossi",
    "Santos",
    "Tamm",
    "Urban",
    "Vogel",
    "Weiss",
    "Young",
    "Zeman",
    "Aldana",
    "Bruun",
    "Corvi",
    "Derks",
    "Engel",
]
COLOUR = [
    "Amber",
    "Blue",
    "Cedar",
    "Delta",
    "Ember",
    "Fern",
    "Golden",
    "Harbour",
    "Iron",
    "Juniper",
    "Keystone",
    "Lunar",
    "Maple",
    "North",
    "Opal",
    "Pine",
]
TRADE = [
    "Analytics",
    "Bakery",
    "Ceramics",
    "Devices",
    "Energy",
    "Foods",
    "Glass",
    "Health",
    "Instruments",
    "Jets",
    "Kitchens",
    "Labs",
    "Motors",
]
LEGAL = ["GmbH", "Ltd", "Inc", "BV", "SA", "AB"]
STREET = ["Mill Lane", "Station Road", "High Street", "Orchard Way", "Quay Street", "Market Square", "Hill Road"]
TOWN = ["Ashford", "Bellmar", "Corven", "Dunmore", "Eastby", "Falkirch", "Granby", "Hollen", "Ilmen", "Jarlsby"]
TITLE = [
    "Buyer",
    "Head of Purchasing",
    "Chief Technology Officer",
    "Operations Manager",
    "Finance Director",
    "Engineer",
    "Assistant",
]
VERB = ["Intro", "Follow-up", "Demo", "Pricing", "Contract review", "Check-in", "Onboarding", "Reminder"]
TOPIC = ["licences", "support", "migration", "renewal", "rollout", "training", "security", "integration", "reporting"]
PRODUCT = ["Starter plan", "Team plan", "Enterprise plan", "Migration project", "Support contract", "Training package"]

PREFIX = {"account": "acc", "contact": "con", "lead": "lea", "opportunity": "opp", "activity": "act", "owner": "own"}

Render = Callable[[pl.Series], pl.Series]


def _pick(words: list[str], code: pl.Series, stride: int = 1) -> pl.Series:
    """The word that a code names; `stride` lets one code choose from several lists."""
    return pl.Series(words).gather((code // stride) % len(words))


def _joined(*parts: pl.Series | str) -> pl.Series:
    columns = [pl.lit(part) if isinstance(part, str) else pl.lit(part.alias("")) for part in parts]
    return pl.select(pl.concat_str(columns)).to_series()


def _person(code: pl.Series) -> pl.Series:
    return _joined(_pick(FIRST, code), " ", _pick(LAST, code, 20))


def _company(code: pl.Series) -> pl.Series:
    return _joined(_pick(COLOUR, code), " ", _pick(TRADE, code, 16), " ", _pick(LEGAL, code, 208))


def _email(code: pl.Series) -> pl.Series:
    first, last = _pick(FIRST, code).str.to_lowercase(), _pick(LAST, code, 20).str.to_lowercase()
    return _joined(first, ".", last, (code % 997).cast(pl.String), "@", _domain(code // 600))


def _domain(code: pl.Series) -> pl.Series:
    colour, trade = _pick(COLOUR, code).str.to_lowercase(), _pick(TRADE, code, 16).str.to_lowercase()
    return _joined(colour, "-", trade, ".example")


def _phone(code: pl.Series) -> pl.Series:
    return _joined("+1 555 01", (code % 100_000).cast(pl.String).str.zfill(5))


def _address(code: pl.Series) -> pl.Series:
    return _joined((code % 199 + 1).cast(pl.String), " ", _pick(STREET, code, 199), ", ", _pick(TOWN, code, 1393))


def _subject(code: pl.Series) -> pl.Series:
    return _joined(_pick(VERB, code), ": ", _pick(TOPIC, code, 8))


def _deal(code: pl.Series) -> pl.Series:
    return _joined(_pick(PRODUCT, code), " ", (code % 89 + 10).cast(pl.String))


@dataclass(frozen=True)
class Column:
    """How one column's numbers are read.

    `kind` says the type; an id's `of` is the object it names, a category's or a text's the words to choose from.
    """

    kind: Literal["id", "category", "text", "money", "whole", "time", "day", "percent", "truth", "ids"]
    of: str = ""
    words: tuple[str, ...] = ()
    render: Render | None = None


def _text(render: Render) -> Column:
    return Column("text", render=render)


def _one_of(words: tuple[str, ...] | list[str]) -> Column:
    return Column("category", words=tuple(words))


def _id(of: str) -> Column:
    return Column("id", of=of)


MONEY, WHOLE, TIME, DAY = Column("money"), Column("whole"), Column("time"), Column("day")
PERCENT, TRUTH, IDS = Column("percent"), Column("truth"), Column("ids")
STAMPS = {"created_at": TIME, "modified_at": TIME}

COLUMNS: dict[str, dict[str, Column]] = {
    "account": {
        "id": _id("account"),
        "name": _text(_company),
        "domain": _text(_domain),
        "industry": _one_of(model.INDUSTRIES),
        "country": _one_of(model.COUNTRIES),
        "tier": _one_of(model.TIERS),
        "employees": WHOLE,
        "annual_revenue": MONEY,
        "currency": _one_of(model.CURRENCIES),
        "phone": _text(_phone),
        "billing_address": _text(_address),
        "owner_id": _id("owner"),
        **STAMPS,
    },
    "contact": {
        "id": _id("contact"),
        "account_id": _id("account"),
        "first_name": _text(lambda code: _pick(FIRST, code)),
        "last_name": _text(lambda code: _pick(LAST, code, 20)),
        "email": _text(_email),
        "phone": _text(_phone),
        "title": _one_of(TITLE),
        "owner_id": _id("owner"),
        "merged_ids": IDS,
        **STAMPS,
    },
    "lead": {
        "id": _id("lead"),
        "name": _text(_person),
        "company": _text(_company),
        "email": _text(_email),
        "phone": _text(_phone),
        "source": _one_of(model.LEAD_SOURCES),
        "status": _one_of(model.LEAD_STATUSES),
        "employees": WHOLE,
        "owner_id": _id("owner"),
        "converted_at": TIME,
        "account_id": _id("account"),
        "contact_id": _id("contact"),
        "opportunity_id": _id("opportunity"),
        **STAMPS,
    },
    "opportunity": {
        "id": _id("opportunity"),
        "name": _text(_deal),
        "account_id": _id("account"),
        "contact_id": _id("contact"),
        "lead_id": _id("lead"),
        "owner_id": _id("owner"),
        "stage": _one_of(model.STAGES),
        "amount": MONEY,
        "currency": _one_of(model.CURRENCIES),
        "probability": PERCENT,
        "close_date": DAY,
        "is_closed": TRUTH,
        **STAMPS,
    },
    "activity": {
        "id": _id("activity"),
        "kind": _one_of(model.KINDS),
        "channel": _one_of(model.CHANNELS),
        "subject": _text(_subject),
        "outcome": _one_of(model.OUTCOMES),
        "occurred_at": TIME,
        "duration_minutes": WHOLE,
        "amount": MONEY,
        "currency": _one_of(model.CURRENCIES),
        "account_id": _id("account"),
        "contact_id": _id("contact"),
        "lead_id": _id("lead"),
        "opportunity_id": _id("opportunity"),
        "owner_id": _id("owner"),
        **STAMPS,
    },
    "owner": {
        "id": _id("owner"),
        "name": _text(_person),
        "email": _text(_email),
        "region": _one_of(model.REGIONS),
        "is_active": TRUTH,
        **STAMPS,
    },
}
"""The columns of every object, in contract order, and how the simulator's numbers read."""

OBJECTS = tuple(COLUMNS)
ORIGINS = ("screen", "import", "integration", "mobile", "automation")
OPERATIONS = ("create", "update", "delete", "undelete", "merge")
