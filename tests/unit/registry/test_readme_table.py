import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InconclusiveError, InputError
from aprqa_ci.registry.models_csv import COLUMNS, Registry, read_registry
from aprqa_ci.registry.readme_table import (
    TABLE_END,
    TABLE_START,
    render_table,
    replace_table,
    update_readme,
)

Row = Callable[..., str]


def registry_of(*rows: str) -> Registry:
    return read_registry("\n".join([",".join(COLUMNS), *rows]).encode(), source="models.csv")


def lines_of(text: str) -> list[str]:
    """Return the lines without their padding."""
    return [re.sub(r"--+", "-", " ".join(line.split())) for line in text.split("\n")]


def test_the_whole_table(row: Row) -> None:
    registry = registry_of(
        row(
            "Qwen/Qwen-7B", status="CERTIFIED", mqs_score="931", grade="A",
            last_certified="2026-11-02T10:00:00Z", g1="true", g2="true", g3="true", g4="true",
            tps_gguf_cpu="48.26", tps_st_gpu="0.0", provenance_verified="true",
        ),
        row("Qwen/Qwen-135M", parameters="135M", last_certified="2027-01-31T00:00:00+00:00"),
        row(
            "Qwen/Qwen-0.5B", parameters="0.5B", status="PARTIAL", mqs_score="500", grade="F",
            last_certified="2026-11-03T01:00:00.5+02:00", g1="true", g2="true", g3="false",
        ),
    )  # fmt: skip
    assert lines_of(render_table(registry)) == lines_of(
        """**Certification summary (updated: 2026-11-02 23:00 UTC)**

| Status | Count |
|:-|:-|
| Certified | 1/3 |
| Provisional | 0/3 |
| Blocked | 1/3 |
| Pending | 1/3 |

| Model | Family | Size | Status | MQS | Grade | G1-4 | Prov | GGUF CPU | GGUF GPU | APR CPU """
        """| APR GPU | ST CPU | ST GPU |
|:-|:-|:-|:-|-:|:-:|:-:|:-:|-:|-:|-:|-:|-:|-:|
| [Qwen-135M](https://huggingface.co/Qwen/Qwen-135M) | qwen | 135M | **PENDING** | 0 | - | - """
        """| - | - | - | - | - | - | - |
| [Qwen-0.5B](https://huggingface.co/Qwen/Qwen-0.5B) | qwen | 0.5B | **PARTIAL** | 500 | F | ✗ """
        """| ✗ | - | - | - | - | - | - |
| [Qwen-7B](https://huggingface.co/Qwen/Qwen-7B) | qwen | 7B | **CERTIFIED** | 931 | A | ✓ """
        """| ✓ | 48.3 | - | - | - | - | 0.0 |
"""
    )


def test_families_come_in_order_and_ties_keep_theirs(row: Row) -> None:
    registry = registry_of(
        row("o/b2", family="b"), row("o/b1", family="b"), row("o/a", family="a", parameters="70B")
    )
    text = render_table(registry)
    assert text.index("o/a") < text.index("o/b2") < text.index("o/b1")


def test_words_of_other_tools_are_shown_and_counted(row: Row) -> None:
    registry = registry_of(
        row("o/a", status="FAIL"), row("o/b", status="UNTESTED"), row("o/c", status="RUNNING")
    )
    lines = lines_of(render_table(registry))
    for line in ("| Blocked | 1/3 |", "| Pending | 1/3 |", "| Other | 1/3 |"):
        assert line in lines
    for word in ("**FAIL**", "**UNTESTED**", "**RUNNING**"):
        assert sum(word in line for line in lines) == 1


def test_without_a_certificate_there_is_no_date(row: Row) -> None:
    assert "nothing is certified yet" in render_table(registry_of())
    assert "nothing is certified yet" in render_table(registry_of(row("o/a")))


def test_hostile_cells_are_text(row: Row) -> None:
    cells = dict.fromkeys(
        ("family", "parameters", "status", "mqs_score", "grade", "tps_gguf_cpu"), "<b>|@org"
    )
    text = render_table(registry_of(row("javascript:alert(1)", **cells)))
    assert "javascript:alert(1)" in text
    assert "](" not in text
    assert "<b>" not in text
    assert "@org" not in text
    assert len({line.count("|") for line in text.strip().split("\n")[-3:]}) == 1


before = st.text(max_size=40).filter(lambda text: TABLE_START not in text)


@given(head=before, inside=before, tail=before, line_end=st.sampled_from(["\n", "\r\n"]))
def test_only_what_is_between_the_markers_changes(
    head: str, inside: str, tail: str, line_end: str
) -> None:
    readme = line_end.join([head, TABLE_START, inside, TABLE_END, tail])
    new = replace_table(readme, "one\n\ntwo\n")
    assert new == line_end.join([head, TABLE_START, "one", "", "two", TABLE_END, tail])
    assert replace_table(new, "one\n\ntwo\n") == new


def test_markers_next_to_each_other_and_in_prose() -> None:
    readme = f"Put `{TABLE_START}` there.\n  {TABLE_START}  \n{TABLE_END}"
    assert replace_table(readme, "x\n") == (
        f"Put `{TABLE_START}` there.\n  {TABLE_START}  \nx\n{TABLE_END}"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a", TABLE_END], f"README.md: {TABLE_START} is missing"),
        ([TABLE_START], f"README.md: {TABLE_END} is missing"),
        ([TABLE_START, TABLE_START, TABLE_END], f"README.md:2: {TABLE_START} stands 2 times"),
        ([TABLE_START, TABLE_END, TABLE_END], f"README.md:3: {TABLE_END} stands 2 times"),
        ([TABLE_END, "", TABLE_START], f"README.md:1: {TABLE_END} stands before"),
    ],
)
def test_missing_doubled_and_reversed_markers(lines: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        replace_table("\n".join(lines), "x\n")
    assert message in str(caught.value)


def test_a_readme_is_written_only_when_it_changes(tmp_path: Path, row: Row) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(f"# X\r\n{TABLE_START}\r\n{TABLE_END}\r\n\u2028\x0b".encode())
    registry = registry_of(row("o/a"))
    assert update_readme(path, registry)
    data = path.read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n")
    assert data.startswith(b"# X\r\n")
    assert data.endswith("\r\n\u2028\x0b".encode())
    assert not update_readme(path, registry)
    assert path.read_bytes() == data


def test_a_readme_that_cannot_be_used(
    tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(b"a\n\xff")
    with pytest.raises(InputError, match=r"README.md:2: the text is not UTF-8"):
        update_readme(path, registry_of(row("o/a")))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path.write_text(f"{TABLE_START}\n{TABLE_END}\n")
    monkeypatch.setattr("aprqa_ci.registry.readme_table.write_atomic", full)
    with pytest.raises(InconclusiveError, match="No space left"):
        update_readme(path, registry_of(row("o/a")))


def test_the_real_registry_has_a_row_for_every_model(corpus_registry: Path) -> None:
    registry = read_registry(corpus_registry.read_bytes(), source=corpus_registry)
    lines = lines_of(render_table(registry))
    assert "| Certified | 9/92 |" in lines
    assert "| Blocked | 12/92 |" in lines
    assert "| Pending | 71/92 |" in lines
    assert sum("](https://huggingface.co/" in line for line in lines) == 92
