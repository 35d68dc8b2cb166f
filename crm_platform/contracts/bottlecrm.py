"""The objects of BottleCRM (django-crm on PostgreSQL) as its tables hold them: the CRM's own names, in its own order.

Type, key, PII class and meaning per column. Which table is which object, and which column plays which part, says the
manifest; jsonb stands as text.
"""

import datetime as dt
from typing import Annotated

import polars as pl

from crm_platform.contracts import Moment, Money, ObjectModel, Text, field

SOURCE = "bottlecrm"

Rank = Annotated[pl.Decimal, 15, 6]


class Account(ObjectModel):
    """A company."""

    created_at: Moment = field("When the row was made.")
    updated_at: Moment = field("When the CRM says the row was last saved; some changes leave it as it was.")
    id: Text = field("The CRM's own id.", key=True)
    name: Text = field("What the company is called.", pii="name")
    email: Text = field("The company's address for mail.", pii="email", nullable=True)
    phone: Text = field("Phone as typed.", pii="phone", nullable=True)
    website: Text = field("Web site.", nullable=True)
    industry: Text = field("Line of business.", nullable=True)
    number_of_employees: int = field("How many people work there.", nullable=True, ge=0)
    annual_revenue: Money = field("Revenue a year, in `currency`.", nullable=True)
    address_line: Text = field("Street and number.", pii="address", nullable=True)
    city: Text = field("City.", pii="address", nullable=True)
    state: Text = field("State or province.", pii="address", nullable=True)
    postcode: Text = field("Postcode.", pii="address", nullable=True)
    country: Text = field("Country, ISO 3166 alpha-2.", nullable=True)
    description: Text = field("Notes.", pii="free_text", nullable=True)
    is_active: bool = field("Whether it is in use; not a delete.")
    created_by_id: Text = field("The user who made it.", nullable=True)
    org_id: Text = field("The organisation (tenant) it belongs to.")
    updated_by_id: Text = field("The user who saved it last.", nullable=True)
    currency: Text = field("Currency of its money, ISO 4217.", nullable=True)
    custom_fields: Text = field("Fields the organisation added, as JSON text.", pii="free_text")
    is_sample: bool = field("Whether it came with the CRM's sample data.")


class Contact(ObjectModel):
    """A person at a company."""

    created_at: Moment = field("When the row was made.")
    updated_at: Moment = field("When the CRM says the row was last saved; some changes leave it as it was.")
    id: Text = field("The CRM's own id.", key=True)
    first_name: Text = field("First name.", pii="name", nullable=True)
    last_name: Text = field("Last name.", pii="name", nullable=True)
    email: Text = field("The person's e-mail.", pii="email", nullable=True)
    phone: Text = field("Phone as typed.", pii="phone", nullable=True)
    organization: Text = field("Company as typed.", pii="name", nullable=True)
    title: Text = field("Job title.", nullable=True)
    department: Text = field("Department.", nullable=True)
    do_not_call: bool = field("Whether the person asked not to be called.")
    linkedin_url: Text = field("LinkedIn page.", pii="identifier", nullable=True)
    address_line: Text = field("Street and number.", pii="address", nullable=True)
    city: Text = field("City.", pii="address", nullable=True)
    state: Text = field("State or province.", pii="address", nullable=True)
    postcode: Text = field("Postcode.", pii="address", nullable=True)
    country: Text = field("Country, ISO 3166 alpha-2.", nullable=True)
    description: Text = field("Notes.", pii="free_text", nullable=True)
    is_active: bool = field("Whether it is in use; not a delete.")
    created_by_id: Text = field("The user who made it.", nullable=True)
    org_id: Text = field("The organisation (tenant) it belongs to.")
    updated_by_id: Text = field("The user who saved it last.", nullable=True)
    account_id: Text = field("The account it belongs to.", nullable=True)
    auto_created: bool = field("Whether the CRM made it by itself.")
    custom_fields: Text = field("Fields the organisation added, as JSON text.", pii="free_text")
    is_sample: bool = field("Whether it came with the CRM's sample data.")
    phone_e164: Text = field("Phone in E.164; empty where it could not be read.", pii="phone")
    source: Text = field("Where it came from.", nullable=True)
    source_detail: Text = field("Which campaign or form it came from.")
    source_ref: Text = field("The source's own reference.", pii="identifier")


class Lead(ObjectModel):
    """Somebody who may become a customer."""

    created_at: Moment = field("When the row was made.")
    updated_at: Moment = field("When the CRM says the row was last saved; some changes leave it as it was.")
    id: Text = field("The CRM's own id.", key=True)
    salutation: Text = field("Form of address.", pii="name", nullable=True)
    first_name: Text = field("First name.", pii="name", nullable=True)
    last_name: Text = field("Last name.", pii="name", nullable=True)
    email: Text = field("The person's e-mail.", pii="email", nullable=True)
    phone: Text = field("Phone as typed.", pii="phone", nullable=True)
    job_title: Text = field("Job title.", nullable=True)
    website: Text = field("Web site.", nullable=True)
    linkedin_url: Text = field("LinkedIn page.", pii="identifier", nullable=True)
    status: Text = field("Where it stands; `converted` ends it.", nullable=True)
    source: Text = field("Where it came from.", nullable=True)
    industry: Text = field("Line of business.", nullable=True)
    rating: Text = field("HOT, WARM or COLD.", nullable=True)
    opportunity_amount: Money = field("Expected value, in `currency`.", nullable=True, ge=0)
    probability: int = field("Chance of success, percent.", nullable=True, ge=0, le=100)
    close_date: dt.date = field("Expected close.", nullable=True)
    address_line: Text = field("Street and number.", pii="address", nullable=True)
    city: Text = field("City.", pii="address", nullable=True)
    state: Text = field("State or province.", pii="address", nullable=True)
    postcode: Text = field("Postcode.", pii="address", nullable=True)
    country: Text = field("Country, ISO 3166 alpha-2.", nullable=True)
    last_contacted: dt.date = field("When somebody last reached out.", nullable=True)
    next_follow_up: dt.date = field("When to reach out next.", nullable=True)
    description: Text = field("Notes.", pii="free_text", nullable=True)
    is_active: bool = field("Whether it is in use; not a delete.")
    created_by_id: Text = field("The user who made it.", nullable=True)
    org_id: Text = field("The organisation (tenant) it belongs to.")
    updated_by_id: Text = field("The user who saved it last.", nullable=True)
    company_name: Text = field("Company as typed.", pii="name", nullable=True)
    title: Text = field("What the lead is called.", pii="free_text", nullable=True)
    currency: Text = field("Currency of its money, ISO 4217.", nullable=True)
    kanban_order: Rank = field("Its place on the board.")
    stage_id: Text = field("The board column it stands in.", nullable=True)
    custom_fields: Text = field("Fields the organisation added, as JSON text.", pii="free_text")
    is_sample: bool = field("Whether it came with the CRM's sample data.")
    external_id: Text = field("Its id in the system it came from.", pii="identifier")
    external_source: Text = field("The system it came from.")
    last_enquiry_at: Moment = field("When the person last wrote.", nullable=True)
    phone_e164: Text = field("Phone in E.164; empty where it could not be read.", pii="phone")
    source_detail: Text = field("Which campaign or form it came from.")
    source_ref: Text = field("The source's own reference.", pii="identifier")
    first_response_at: Moment = field("When somebody first answered.", nullable=True)
    first_response_by_id: Text = field("The user who first answered.", nullable=True)
    last_outbound_at: Moment = field("When somebody last wrote to the person.", nullable=True)


class Opportunity(ObjectModel):
    """A deal."""

    created_at: Moment = field("When the row was made.")
    updated_at: Moment = field("When the CRM says the row was last saved; some changes leave it as it was.")
    id: Text = field("The CRM's own id.", key=True)
    name: Text = field("What the deal is called.", pii="free_text")
    stage: Text = field("Step of the sale.")
    opportunity_type: Text = field("New or existing business.", nullable=True)
    currency: Text = field("Currency of its money, ISO 4217.", nullable=True)
    amount: Money = field("Deal value, in `currency`.", nullable=True, ge=0)
    probability: int = field("Chance of success, percent.", nullable=True, ge=0, le=100)
    closed_on: dt.date = field("Close, expected or real.", nullable=True)
    lead_source: Text = field("Where the deal came from.", nullable=True)
    description: Text = field("Notes.", pii="free_text", nullable=True)
    is_active: bool = field("Whether it is in use; not a delete.")
    account_id: Text = field("The account it belongs to.", nullable=True)
    closed_by_id: Text = field("The user who closed it.", nullable=True)
    created_by_id: Text = field("The user who made it.", nullable=True)
    org_id: Text = field("The organisation (tenant) it belongs to.")
    updated_by_id: Text = field("The user who saved it last.", nullable=True)
    amount_source: Text = field("Whether the amount was typed or computed.")
    stage_changed_at: Moment = field("When the stage last changed, by the CRM's own account.", nullable=True)
    custom_fields: Text = field("Fields the organisation added, as JSON text.", pii="free_text")
    kanban_order: Rank = field("Its place on the board.")
    is_sample: bool = field("Whether it came with the CRM's sample data.")
    pipeline_id: Text = field("The pipeline it runs through.", nullable=True)
    source_detail: Text = field("Which campaign or form it came from.")
    source_ref: Text = field("The source's own reference.", pii="identifier")


class Task(ObjectModel):
    """Something a user did or is to do about a lead, a deal or an account."""

    created_at: Moment = field("When the row was made.")
    updated_at: Moment = field("When the CRM says the row was last saved; some changes leave it as it was.")
    id: Text = field("The CRM's own id.", key=True)
    title: Text = field("What is to be done.", pii="free_text")
    status: Text = field("New, In Progress or Completed.")
    priority: Text = field("Low, Medium or High.")
    due_date: dt.date = field("Day it is due.", nullable=True)
    description: Text = field("Notes.", pii="free_text", nullable=True)
    account_id: Text = field("The account it belongs to.", nullable=True)
    created_by_id: Text = field("The user who made it.", nullable=True)
    org_id: Text = field("The organisation (tenant) it belongs to.")
    updated_by_id: Text = field("The user who saved it last.", nullable=True)
    case_id: Text = field("The support case it is about.", nullable=True)
    lead_id: Text = field("The lead it is about.", nullable=True)
    opportunity_id: Text = field("The deal it is about.", nullable=True)
    kanban_order: Rank = field("Its place on the board.")
    stage_id: Text = field("The board column it stands in.", nullable=True)
    custom_fields: Text = field("Fields the organisation added, as JSON text.", pii="free_text")
    is_sample: bool = field("Whether it came with the CRM's sample data.")
    project_id: Text = field("The project it is part of.", nullable=True)


OBJECTS = {
    "account": Account,
    "contact": Contact,
    "lead": Lead,
    "opportunity": Opportunity,
    "task": Task,
}
