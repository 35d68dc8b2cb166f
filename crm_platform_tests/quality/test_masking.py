import polars as pl
import pytest

from crm_platform.contracts import contracts_in
from crm_platform.quality.masking import masked, masked_text, personal_columns
from crm_platform.sources import load_manifest


def test_personal_columns_are_those_that_any_contract_classes():
    found = personal_columns(contracts_in(load_manifest("sandbox").contracts).values())
    assert {"email", "phone"} <= found
    assert not {"id", "entity_id", "amount", "stage", "status"} & found


def test_personal_columns_are_hidden_whole_and_what_is_empty_stays_empty():
    examples = pl.DataFrame({"entity_id": ["a1", "a2"], "phone": ["0171 1234", None], "age": [31, 32]})
    assert masked(examples, {"phone", "age"}).rows() == [("a1", "•••", "•••"), ("a2", None, "•••")]


def test_addresses_and_numbers_are_hidden_wherever_they_stand():
    examples = pl.DataFrame(
        {"found": ["was ada@example.com, is b.c@d.org", "+49 171 234567", "2026-03-01"], "n": [1, 2, 3]}
    )
    assert masked(examples, ())["found"].to_list() == ["was •••, is •••", "•••", "2026-03-01"]
    assert masked(examples, ())["n"].to_list() == [1, 2, 3]


def test_lists_are_shown_as_texts_and_hidden_like_them():
    assert masked(pl.DataFrame({"values": [["ada@example.com", "x"]]}), ())["values"].to_list() == ["['•••', 'x']"]


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("Value ada@example.com is new.", "Value ••• is new."),
        ("Batch 000000000042 is open since 2026-03-01 10:00:00+00:00.", None),
        ("3 of 1,204 rows; see docs/runbook.md#contract, or run `crm-platform check history/lead contract`.", None),
    ],
)
def test_sentences_lose_addresses_and_nothing_else(sentence, shown):
    assert masked_text(sentence) == (shown or sentence)
