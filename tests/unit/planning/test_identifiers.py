from contextlib import suppress
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.planning.identifiers import cell_id, cell_of, prompt_id, select, variant_name
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat

CELLS = (
    "a-mvp:run-cpu-safetensors",
    "a-mvp:chat-cpu-safetensors",
    "a-mvp:chat-gpu-gguf-q8_0",
    "b:run-cpu-gguf-q4_k_m",
    "b:serve-cpu-gguf-q4_k_m",
)

subsets = st.lists(st.sampled_from(CELLS), unique=True)


def test_ids_are_those_of_the_format() -> None:
    cell = cell_id("qwen2.5-coder-0.5b-mvp", Modality.CHAT, Backend.CPU, ModelFormat.GGUF, "q8_0")
    assert cell == "qwen2.5-coder-0.5b-mvp:chat-cpu-gguf-q8_0"
    assert prompt_id(cell, 7) == f"{cell}#007"
    assert prompt_id(cell, 1000) == f"{cell}#1000"
    assert cell_of(prompt_id(cell, 7)) == cell_of(f"{cell}#F-PERF-TPS-001") == cell
    assert variant_name(ModelFormat.SAFETENSORS, None) == "safetensors"


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (["*"], (0, 1, 2, 3, 4)),
        (["*:run-*"], (0, 3)),
        (["run-*"], (0, 3)),
        (["b:*"], (3, 4)),
        (["*-gguf-*"], (2, 3, 4)),
        (["*:{run,serve}-*"], (0, 3, 4)),
        (["{a-mvp,b}:{run,chat}-cpu-*"], (0, 1, 3)),
        (["*:chat-[cg]pu-*"], (1, 2)),
        (["*q?_0"], (2,)),
        (["b:*", "a-mvp:run-*"], (0, 3, 4)),
        (["a-mvp:chat-gpu-gguf-q8_0"], (2,)),
        (["{b:*,a-mvp:run-cpu-{safetensors,gguf}}"], (0, 3, 4)),
    ],
)
def test_globs_select(patterns: list[str], chosen: tuple[int, ...]) -> None:
    assert select(CELLS, patterns) == tuple(CELLS[index] for index in chosen)


def test_a_glob_that_matches_nothing_is_a_mistake() -> None:
    with pytest.raises(InputError) as caught:
        select(CELLS, ["*:run-*", "*:rnu-*", "b:run-cpu-gguf-q4_k_n"])
    told = [str(problem) for problem in caught.value.problems]
    assert len(told) == 2
    assert "'*:rnu-*' matches no cell" in told[0]
    assert "--print" in told[0]
    assert "perhaps 'b:run-cpu-gguf-q4_k_m' is meant" in told[1]


@pytest.mark.parametrize("pattern", ["{a,b", "a,b}", "[", "{}", "", "a{", "**{,}}{"])
def test_odd_patterns_are_patterns(pattern: str) -> None:
    with pytest.raises(InputError, match="matches no cell"):
        select(("x:y",), [pattern])


def test_braces_cannot_blow_up() -> None:
    with pytest.raises(InputError, match="expands to more than"):
        select(CELLS, ["{a,b}" * 64])
    with pytest.raises(InputError, match="expands to more than"):
        select(CELLS, ["{" + "," * 10_000 + "}"])


@given(subsets, st.lists(st.sampled_from(["*:run-*", "b:*", "*gguf*"]), min_size=1))
def test_what_is_selected_matches_and_keeps_its_order(
    cells: list[str], patterns: list[str]
) -> None:
    wanted = tuple(
        cell for cell in cells if any(fnmatchcase(cell, pattern) for pattern in patterns)
    )
    if all(any(fnmatchcase(cell, pattern) for cell in cells) for pattern in patterns):
        assert select(cells, patterns) == wanted
    else:
        with pytest.raises(InputError):
            select(cells, patterns)


@given(st.text(max_size=30))
def test_no_pattern_breaks_the_selection(pattern: str) -> None:
    with suppress(InputError):
        assert set(select(CELLS, [pattern])) <= set(CELLS)
