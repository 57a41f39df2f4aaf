import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.registry.records import read_records

fields = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


def quoted(value: str, *, always: bool) -> str:
    if always or any(character in value for character in ',"\r\n'):
        return '"' + value.replace('"', '""') + '"'
    return value


@st.composite
def csv_files(draw: st.DrawFn) -> tuple[str, list[list[str]]]:
    """Any CSV text: mixed line ends, needless quotes, with or without a last line end."""
    rows = draw(st.lists(st.lists(fields, min_size=2, max_size=4), min_size=1, max_size=6))
    text = ""
    for row in rows:
        text += ",".join(quoted(value, always=draw(st.booleans())) for value in row)
        text += draw(st.sampled_from(["\n", "\r\n"]))
    if draw(st.booleans()):
        text = text.removesuffix("\n").removesuffix("\r")
    return text, rows


@given(csv_files())
def test_values_are_read_and_every_byte_is_kept(case: tuple[str, list[list[str]]]) -> None:
    text, rows = case
    records = read_records(text, source="models.csv")
    assert "".join(record.text for record in records) == text
    assert [list(record.values) for record in records] == rows


@given(csv_files())
def test_the_standard_reader_reads_the_same(case: tuple[str, list[list[str]]]) -> None:
    text, _ = case
    theirs = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert [list(record.values) for record in read_records(text, source="x")] == theirs


@given(st.text(alphabet='a,"\r\n', max_size=30))
def test_any_text_is_read_whole_or_refused(text: str) -> None:
    try:
        records = read_records(text, source="models.csv")
    except InputError as error:
        lines = [problem.line for problem in error.problems]
        assert all(line is not None and 1 <= line <= text.count("\n") + 1 for line in lines)
    else:
        assert "".join(record.text for record in records) == text


def test_lines_are_counted_through_quoted_line_ends() -> None:
    records = read_records('a,"b\nc"\r\nd,e\n\nf,g', source="x")
    assert [record.line for record in records] == [1, 3, 4, 5]
    assert [record.end for record in records] == ["\r\n", "\n", "\n", ""]
    assert records[2].values == ()


def test_every_fault_is_named_with_its_line() -> None:
    with pytest.raises(InputError) as caught:
        read_records('a,b\nc"d,e\nf,"g"h\ni,\rj\nk,l\nm,"n\n', source="models.csv")
    assert str(caught.value).split("\n") == [
        "models.csv:2: a quote stands inside a field that does not begin with one",
        "models.csv:3: a quoted field is not closed, or text follows its closing quote",
        "models.csv:4: a carriage return stands alone, outside quotes",
        "models.csv:6: a quoted field is not closed, or text follows its closing quote",
    ]
