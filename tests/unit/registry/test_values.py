import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.registry.values import billions_of, instant_of, number_of, same_value, truth_of


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("CERTIFIED", "CERTIFIED", True),
        ("certified", "CERTIFIED", False),
        ("17.90", "17.9", True),
        ("17.8", "17.9", False),
        ("", "0.0", False),
        ("0.0", "", False),
        ("TRUE", "true", True),
        ("yes", "true", False),
        ("false", "true", False),
        ("2026-02-10T09:26:08.5Z", "2026-02-10T10:26:08.500000000+01:00", True),
        ("2026-02-10T09:26:08.500000001Z", "2026-02-10T09:26:08.5Z", False),
        ("1000", "true", False),
        ("-", "F", False),
    ],
)
def test_the_same_in_another_spelling(old: str, new: str, *, same: bool) -> None:
    assert same_value(old, new) is same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-02-10",
        "2026-02-10T09:26:08",
        "2026-13-10T09:26:08Z",
        "2026-02-10T09:26:08.1234567890Z",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:00:00-10:00",
        "\uff12026-02-10T09:26:08Z",
    ],
)
def test_what_is_no_instant(text: str) -> None:
    assert instant_of(text) is None


def test_instants_order_to_the_nanosecond() -> None:
    texts = [
        "2026-02-10T09:26:08+00:00",
        "2026-02-10T09:26:08.000000001Z",
        "2026-02-10T09:26:08.1Z",
        "2026-02-10T08:26:09-01:00",
    ]
    assert sorted(texts, key=lambda text: instant_of(text) or (0, 0)) == texts


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5B", 0.5), ("135M", 0.135), ("7b", 7.0), ("8x7B", 0.0), ("", 0.0), ("-", 0.0)],
)
def test_sizes(text: str, value: float) -> None:
    assert billions_of(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e3", " 1", "1_0", "\uff11", "9" * 400])
def test_what_is_no_number(text: str) -> None:
    assert number_of(text) is None


@given(st.text())
def test_any_cell_can_be_asked(text: str) -> None:
    number_of(text)
    truth_of(text)
    instant_of(text)
    assert billions_of(text) >= 0
    assert same_value(text, text)
