from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.registry.models_csv import (
    COLUMNS,
    EMPTY_REGISTRY,
    MAX_REGISTRY_BYTES,
    CellChange,
    apply,
    read_registry,
)
from aprqa_ci.registry.row_update import RowUpdate
from aprqa_ci.registry.values import same_value
from aprqa_ci.vocabulary import Backend, ModelFormat, Status

HEADER = ",".join(COLUMNS)
Row = Callable[..., str]

cells = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@st.composite
def registries(draw: st.DrawFn) -> tuple[list[str], int]:
    """Lines of a valid registry, ends included, and the line of ``org/model-0.5B`` (or -1)."""
    names = draw(st.lists(st.from_regex(r"[a-z]{1,4}/[a-z]{1,4}", fullmatch=True), unique=True))
    own = draw(st.integers(-1, len(names)))
    if own >= 0:
        names.insert(own, "org/model-0.5B")
    lines = [HEADER]
    for name in names:
        values = [name, *draw(st.lists(cells, min_size=19, max_size=19))]
        lines.append(",".join('"' + value.replace('"', '""') + '"' for value in values))
    lines = [line + draw(st.sampled_from(["\n", "\r\n"])) for line in lines]
    if draw(st.booleans()):
        lines[-1] = lines[-1].rstrip("\r\n")
    return lines, own


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(case=registries(), marked=st.booleans())
def test_all_other_bytes_stay(
    update: RowUpdate, case: tuple[list[str], int], *, marked: bool
) -> None:
    lines, own = case
    mark = b"\xef\xbb\xbf" if marked else b""
    data = mark + "".join(lines).encode()
    registry = read_registry(data, source="models.csv")
    assert registry.data == data
    new, changes = apply(registry, update)
    assert changes
    if own < 0:
        assert new.startswith(data)
        assert new[len(data) :].strip().decode().startswith("org/model-0.5B,llama,0.5B,tiny,")
    else:
        before = mark + "".join(lines[: own + 1]).encode()
        after = "".join(lines[own + 2 :]).encode()
        assert new.startswith(before)
        assert new.endswith(after)
        ending = lines[own + 1][len(lines[own + 1].rstrip("\r\n")) :]
        assert new[len(before) : len(new) - len(after)].decode().endswith(ending or "")
    again = read_registry(new, source="models.csv")
    assert apply(again, update) == (new, ())
    own_row = next(row for row in again.rows if row["model_id"] == update.model_id)
    assert all(same_value(own_row[column], text) for column, text in update.measured().items())


def test_only_measured_cells_of_the_row_change(update: RowUpdate, row: Row) -> None:
    old = row(update.model_id, status="PARTIAL", tps_gguf_cpu="3.0", tps_st_gpu='"9.90"')
    data = f"{HEADER}\r\n{row('a/a')}\r\n{old}\r\n{row('z/z')}\n".encode()
    new, changes = apply(read_registry(data, source="x"), replace(update, grade="-"))
    assert new.decode().split("\n")[2] == (
        "org/model-0.5B,qwen,7B,large,CERTIFIED,931,-,mvp,2026-11-02T10:00:00Z,"
        'true,true,true,true,48.3,,,,,"9.90",false\r'
    )
    assert CellChange(column="status", old="PARTIAL", new="CERTIFIED") in changes
    assert CellChange(column="tps_gguf_cpu", old="3.0", new="48.3") in changes
    assert [change.column for change in changes] == [
        "status", "mqs_score", "certified_tier", "last_certified", "g1", "g2", "g3", "g4",
        "tps_gguf_cpu",
    ]  # fmt: skip


def test_unchanged_cells_keep_their_spelling(update: RowUpdate, row: Row) -> None:
    spelled = row(
        update.model_id,
        status='"CERTIFIED"', mqs_score="931.0", grade="A", certified_tier="mvp",
        last_certified="2026-11-02T11:00:00+01:00", g1="TRUE", g2="true", g3="True", g4="true",
        tps_gguf_cpu="48.30",
    )  # fmt: skip
    data = f"{HEADER}\n{spelled}\n".encode()
    assert apply(read_registry(data, source="x"), update) == (data, ())


def test_an_empty_throughput_cell_stays_when_nothing_was_measured(
    update: RowUpdate, row: Row
) -> None:
    data = f"{HEADER}\n{row(update.model_id)}\n".encode()
    new, _ = apply(read_registry(data, source="x"), replace(update, throughput={}))
    assert read_registry(new, source="x").rows[0]["tps_gguf_cpu"] == ""


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("{header}\n", "{row}\n"),
        ("{header}", "\n{row}"),
        ("{header}\r\n{other}\r\n", "{row}\r\n"),
        ("{header}\r\n{other}\r\n{third}", "\r\n{row}"),
        ("{header}\r\n{other}\n", "{row}\n"),
        ("{header}\n\n", "{row}\n"),
    ],
)
def test_a_new_model_is_appended_in_the_manner_of_the_file(
    update: RowUpdate, row: Row, text: str, added: str
) -> None:
    new_row = (
        "org/model-0.5B,llama,0.5B,tiny,CERTIFIED,931,A,mvp,2026-11-02T10:00:00Z,"
        "true,true,true,true,48.3,,,,,,false"
    )
    data = text.format(header=HEADER, other=row("a/a"), third=row("b/b"))
    new, changes = apply(read_registry(data.encode(), source="x"), update)
    assert new.decode() == data + added.format(row=new_row)
    assert CellChange(column="model_id", old=None, new="org/model-0.5B") in changes


def test_ids_are_compared_exactly(update: RowUpdate, row: Row) -> None:
    data = f"{HEADER}\n{row('ORG/model-0.5b')}\n".encode()
    new, _ = apply(read_registry(data, source="x"), update)
    assert new.startswith(data)


def test_statuses_of_other_tools_survive(update: RowUpdate, row: Row) -> None:
    words = ["PARTIAL", "FAIL", "UNTESTED", "PROVISIONAL", "what is this"]
    lines = [row(f"o/m{index}", status=word) for index, word in enumerate(words)]
    data = "\n".join([HEADER, *lines]).encode()
    new, _ = apply(read_registry(data, source="x"), update)
    assert [entry["status"] for entry in read_registry(new, source="x").rows][:-1] == words


def test_a_faulty_update_is_refused(update: RowUpdate) -> None:
    with pytest.raises(InputError, match="inconclusive"):
        apply(
            read_registry(EMPTY_REGISTRY, source="x"),
            replace(update, status=Status.INCONCLUSIVE),
        )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "models.csv:1: the file is empty"),
        (b"a,b\n", "models.csv:1: the header is not that of a model registry; missing: model_id"),
        (HEADER.replace("g4", "g5").encode(), "missing: g4; unknown: 'g5'"),
        (",".join(reversed(COLUMNS)).encode(), "the header is not that of a model registry"),
        (f"{HEADER}\na/b,x\n".encode(), "models.csv:2: the row has 2 fields instead of 20"),
        (f"{HEADER}\n\n\na/b\0\n".encode(), "models.csv:4: a NUL byte"),
        (HEADER.encode() + b"\n\xff\n", "models.csv:2: byte 0xff is not UTF-8"),
        (HEADER.encode() + b'\n"a\n', "models.csv:2: a quoted field is not closed"),
        (b"\xef\xbb\xbf\xef\xbb\xbf" + EMPTY_REGISTRY, "the header is not that"),
    ],
)
def test_files_that_are_no_registry(data: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_registry(data, source="models.csv")
    assert message in str(caught.value)


def test_an_oversized_file_is_refused() -> None:
    with pytest.raises(InputError, match="larger than"):
        read_registry(b"x" * (MAX_REGISTRY_BYTES + 1), source="models.csv")


def test_every_problem_is_named_at_once(row: Row) -> None:
    lines = [HEADER, row("a/a"), "short", row("a/a"), row("b/b") + ",more", row("a/a")]
    with pytest.raises(InputError) as caught:
        read_registry("\n".join(lines).encode(), source="models.csv")
    assert [problem.line for problem in caught.value.problems] == [3, 4, 5, 6]
    assert "already, in line 2 (keep one of the two)" in str(caught.value)


def test_a_hopeless_file_does_not_flood() -> None:
    with pytest.raises(InputError) as caught:
        read_registry((HEADER + "\nx" * 5000).encode(), source="models.csv")
    assert len(caught.value.problems) == 100


def test_the_real_file_comes_back_byte_for_byte(corpus_registry: Path) -> None:
    data = corpus_registry.read_bytes()
    registry = read_registry(data, source=corpus_registry)
    assert registry.data == data
    assert len(registry.rows) == 92
    assert registry.line_end == "\r\n"


def test_one_row_of_the_real_file_is_one_changed_line(
    corpus_registry: Path, update: RowUpdate
) -> None:
    data = corpus_registry.read_bytes()
    registry = read_registry(data, source=corpus_registry)
    for model in registry.rows:
        mine = replace(
            update,
            model_id=model["model_id"],
            throughput={(ModelFormat.SAFETENSORS, Backend.CPU): 2.25},
        )
        new, _ = apply(registry, mine)
        old_lines, new_lines = data.split(b"\n"), new.split(b"\n")
        assert len(old_lines) == len(new_lines)
        changed = [pair for pair in zip(old_lines, new_lines, strict=True) if pair[0] != pair[1]]
        assert len(changed) == 1
        assert changed[0][1].startswith(model["model_id"].encode() + b",")
        assert changed[0][1].endswith(b"\r")
