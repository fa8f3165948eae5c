"""Page sizes and tokens."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tracer.server.domain.errors import InvalidFieldsError
from agent_tracer.server.domain.paging import PageRequest, decode_token, encode_token, fitting, page_size

LIST = ("ListTraces", "default", "agent_id=a")


def refused_field(binding: tuple[str, ...], token: str) -> str:
    with pytest.raises(InvalidFieldsError) as refusal:
        decode_token(binding, token)
    return refusal.value.violations[0].field


@pytest.mark.parametrize(("asked", "given"), [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)])
def test_size_has_a_default_and_is_cut_to_the_most(asked: int, given: int) -> None:
    assert page_size(PageRequest(asked)) == given


def test_a_negative_size_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidFieldsError) as refusal:
        page_size(PageRequest(-1))
    assert refusal.value.violations[0].field == "page_size"


@given(st.binary(max_size=600))
def test_a_token_gives_its_position_back_and_needs_no_quoting(position: bytes) -> None:
    token = encode_token(LIST, position)
    assert decode_token(LIST, token) == position
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_a_token_of_other_filters_or_tenants_is_refused() -> None:
    token = encode_token(LIST, b"position")
    for other in (("ListSpans", *LIST[1:]), ("ListTraces", "other", LIST[2]), (*LIST[:2], "agent_id=b")):
        assert refused_field(other, token) == "page_token"


def test_filters_cannot_be_shifted_from_one_part_to_the_next() -> None:
    token = encode_token(("ab", "c"), b"position")
    assert refused_field(("a", "bc"), token) == "page_token"


@given(st.text(max_size=80))
def test_any_other_text_is_refused(text: str) -> None:
    assert refused_field(LIST, text) == "page_token"


def test_every_changed_character_is_noticed() -> None:
    token = encode_token(LIST, b"position")
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    for index in range(len(raw)):
        changed = raw.copy()
        changed[index] ^= 1
        assert refused_field(LIST, base64.urlsafe_b64encode(changed).decode().rstrip("=")) == "page_token"


def test_a_huge_token_is_refused_unread() -> None:
    assert refused_field(LIST, "A" * 1_000_000) == "page_token"


def test_a_page_ends_before_its_weight_passes_the_budget_but_never_empty() -> None:
    assert fitting([4, 4, 4], int, 8) == [4, 4]
    assert fitting([40, 1], int, 8) == [40]
    assert fitting([], int, 8) == []
