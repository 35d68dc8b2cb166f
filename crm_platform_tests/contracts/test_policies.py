"""What a contract says is done about exports that differ, and what it cannot say."""

import sys
from types import ModuleType

import polars as pl
import pytest

from crm_platform.contracts import Contract, ContractError, ObjectModel, Policies, contracts_in, field


class Deal(ObjectModel):
    id: str = field("The id.", key=True)
    stage: str = field("Where it stands.", categories=("open", "won"))


def test_a_contract_that_says_nothing_warns_of_what_is_new_and_stops_for_what_would_be_lost():
    assert Contract("here", "deal", Deal).policies == Policies(
        added="warn",
        removed="freeze",
        retyped="freeze",
        as_text="warn",
        renamed="freeze",
        nulls="quarantine",
        categories="quarantine",
    )


@pytest.mark.parametrize("policy", ["evolve", "warn"])
def test_no_policy_lets_another_type_in_and_the_error_says_why(policy):
    with pytest.raises(ContractError, match="rows that landed before keep their types"):
        Policies(retyped=policy)


@pytest.mark.parametrize("policy", ["quarantine", "freeze"])
def test_text_that_reads_as_the_type_holds_nothing_back(policy):
    with pytest.raises(ContractError, match=r"The policy for as_text cannot be .* Say one of: evolve, warn"):
        Policies(as_text=policy)


def test_a_word_that_is_no_policy_is_refused_with_those_that_are():
    with pytest.raises(ContractError, match=r"cannot be 'ignore'\. Say one of: evolve, warn, quarantine, freeze"):
        Policies(added="ignore")  # pyright: ignore[reportArgumentType]


def declared(monkeypatch, **policies):
    module = ModuleType("declared_here")
    vars(module).update(SOURCE="here", OBJECTS={"deal": Deal}, POLICIES=policies)
    monkeypatch.setitem(sys.modules, "declared_here", module)
    return contracts_in("declared_here")


def test_a_module_declares_policies_beside_its_objects(monkeypatch):
    assert declared(monkeypatch, deal=Policies(added="freeze"))["deal"].policies.added == "freeze"


def test_policies_for_an_object_that_is_not_there_are_refused(monkeypatch):
    with pytest.raises(ContractError, match="without a model: lead"):
        declared(monkeypatch, lead=Policies())


ROWS = pl.DataFrame({"id": ["1", "2", None, "4"], "stage": ["open", None, "won", "parked"]})


@pytest.mark.parametrize(
    ("policies", "broken"),
    [
        (Policies(), [(1, "not_nullable"), (2, "not_nullable"), (3, "isin(['open', 'won'])")]),
        (Policies(nulls="warn"), [(2, "not_nullable"), (3, "isin(['open', 'won'])")]),
        (Policies(categories="evolve"), [(1, "not_nullable"), (2, "not_nullable")]),
        (Policies(nulls="evolve", categories="warn"), [(2, "not_nullable")]),
    ],
)
def test_rows_are_held_to_what_the_policies_do_not_admit_and_the_key_always(policies, broken):
    contract = Contract("here", "deal", Deal, policies)
    checked = contract.check(
        ROWS.with_columns(entity_id=pl.lit("x")).select(contract.current_schema.names()), "current"
    )
    assert checked.failures.select("row", "rule").rows() == broken
