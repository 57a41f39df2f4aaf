import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.playbook.core_scalars import (
    CORE_TAG,
    RefusedScalarError,
    read_number,
    resolve_plain,
    resolve_tagged,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E+3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.25", -0.25),
        ("12", 12),
        ("+7", 7),
        ("014", 14),
        ("0o14", 12),
        ("0xff", 255),
        ("18446744073709551615", (1 << 64) - 1),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_core_schema_values(text: str, value: object) -> None:
    resolved = resolve_plain(text)
    assert resolved == value
    assert type(resolved) is type(value)


@pytest.mark.parametrize(
    "text",
    ["yes", "no", "on", "off", "y", "tRUE", "1_000", "1:30", "0b1", "1e", "e5", "-", "+.", "1.0.0",
     "2001-01-01", "0x", "-0o7", "--1", "\u0661"],
)  # fmt: skip
def test_everything_else_is_text(text: str) -> None:
    assert resolve_plain(text) == text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (".inf", "not a finite"),
        ("-.Inf", "not a finite"),
        (".NaN", "not a finite"),
        ("1e999", "out of the range"),
        ("18446744073709551616", "64 bits"),
        ("-9223372036854775809", "64 bits"),
        ("9" * 5000, "longer than"),
        ("0." + "3" * 70, "longer than"),
    ],
)
def test_numbers_that_are_refused(text: str, what: str) -> None:
    with pytest.raises(RefusedScalarError, match=what):
        resolve_plain(text)


def test_a_number_or_nothing() -> None:
    assert read_number("60000") == 60000
    assert read_number("60s") is None


@pytest.mark.parametrize(
    ("text", "tag", "value"),
    [
        ("3", "!", "3"),
        ("3", f"{CORE_TAG}str", "3"),
        ("3", f"{CORE_TAG}int", 3),
        ("3", f"{CORE_TAG}float", 3.0),
        ("1e2", f"{CORE_TAG}float", 100.0),
        ("true", f"{CORE_TAG}bool", True),
        ("~", f"{CORE_TAG}null", None),
    ],
)
def test_core_tags(text: str, tag: str, value: object) -> None:
    resolved = resolve_tagged(text, tag)
    assert resolved == value
    assert type(resolved) is type(value)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("x", f"{CORE_TAG}int"),
        ("1.5", f"{CORE_TAG}int"),
        ("true", f"{CORE_TAG}int"),
        ("yes", f"{CORE_TAG}bool"),
        ("x", f"{CORE_TAG}null"),
        ("x", f"{CORE_TAG}binary"),
        ("x", f"{CORE_TAG}python/name:os.system"),
        ("x", "!str"),
        ("3", "int"),
        ("x", "str"),
    ],
)
def test_tags_that_are_refused(text: str, tag: str) -> None:
    with pytest.raises(RefusedScalarError):
        resolve_tagged(text, tag)


@given(st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_their_spelling(number: float) -> None:
    assert resolve_plain(repr(number)) == number
