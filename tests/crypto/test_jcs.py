"""RFC 8785: its own examples, one form only, and JSON that is refused."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feddiff_crypto.errors import DecodeError, LimitError
from feddiff_crypto.jcs import MAX_DEPTH, jcs, parse_jcs

NUMBERS = {  # RFC 8785, appendix B: the bits of a double and its text
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_the_rfc_does(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert jcs(value) == text.encode()
    assert jcs(parse_jcs(text.encode(), "number", 99)) == text.encode()


def test_the_object_of_the_rfc_is_written_as_there() -> None:
    """Section 3.2.2 and its result in 3.2.3."""
    value = json.loads(
        r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
        "literals": [null, true, false]}"""
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert jcs(value) == expected.encode()


def test_names_are_sorted_by_their_utf16_code_units() -> None:
    """Section 3.2.3: a surrogate pair comes before U+FB33, which code points would put first."""
    names = ["€", "\r", "\ufb33", "1", "\U0001f600", "\x80", "ö"]
    written = jcs(dict.fromkeys(names))
    ordered = ["\r", "1", "\x80", "ö", "€", "\U0001f600", "\ufb33"]
    assert list(json.loads(written)) == ordered


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**53, -(2**53), "\ud800", {"\udfff": 1}])
def test_values_without_an_interoperable_form_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON|beyond|surrogates"):
        jcs(value)


@pytest.mark.parametrize("value", [b"bytes", {1: 2}, object(), {"a": {1, 2}}])
def test_values_of_other_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        jcs(value)


@pytest.mark.parametrize(
    "text",
    [
        "", " 1", "1 ", "01", "+1", "1.0", "1.50", "1E2", "1e2", "-0", "0.0000001", "1e400", "NaN",
        "Infinity", "-Infinity", "9007199254740993", "1" * 400, "1" * 5000, '{"a":1,"a":1}',
        '{"b":1,"a":1}', '{"a": 1}', "[1,2,]", '"\\u0041"', '"\\/"', '"\\ud800"', '"\\u000A"',
        '"tab\t"', "'a'", "[" * 40 + "]" * 40, "[" * 100_000, "null\n", "\ufeffnull", "nul",
    ],
)  # fmt: skip
def test_other_forms_and_other_texts_are_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="thing"):
        parse_jcs(text.encode(), "thing", 200_000)


def test_bytes_that_are_no_text_or_too_many_are_refused() -> None:
    with pytest.raises(DecodeError, match="thing"):
        parse_jcs(b'"\xff"', "thing", 100)
    with pytest.raises(LimitError, match="4 bytes > limit 3"):
        parse_jcs(b"null", "thing", 3)


def test_nesting_is_limited_when_writing_too() -> None:
    nested: Any = 1
    for _ in range(MAX_DEPTH):
        nested = [nested]
    assert parse_jcs(jcs(nested), "nested", 999) == nested
    with pytest.raises(ValueError, match="deeper"):
        jcs([nested])


CHARACTERS = '\x00\x1f\n"\\/ aZ\x7f\x80é€\u2028\ue000\ufb33\U0001f600'
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(CHARACTERS, max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(CHARACTERS, max_size=4), inner)
    ),
    max_leaves=12,
)


@given(values)
@settings(max_examples=150)
def test_what_is_written_is_read_back_and_is_plain_json(value: Any) -> None:
    written = jcs(value)
    assert parse_jcs(written, "value", 10**6) == value
    assert json.loads(written, parse_int=float) == value  # as a reader of doubles has it


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=200)
def test_a_doubles_text_names_that_double(value: float) -> None:
    assert float(jcs(value)) == value
