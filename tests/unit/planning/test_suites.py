import json
import os
import re
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.parameters import names_in
from aprqa_ci.planning.suites import (
    DrawnPrompt,
    Suite,
    SuiteEntry,
    draw_prompt,
    entries_for,
    load_suites,
)
from aprqa_ci.vocabulary import Category, Modality
from aprqa_ci.wire import digest_of

NAMES = ["arithmetic", "code", "conversation", "edge", "facts", "instruction", "stress"]
ORACLES = {
    "arithmetic",
    "code_syntax",
    "composite",
    "contains",
    "exact",
    "garbage",
    "json",
    "response",
}
ENTRIES = [(suite, entry) for suite in load_suites().values() for entry in suite.prompts]
ENTRY_IDS = [f"{suite.name}/{entry.id}" for suite, entry in ENTRIES]

suites = st.sampled_from(NAMES).map(lambda name: load_suites()[name])
indices = st.integers(0, 10_000)
seeds = st.integers(0, 2**64)
modalities = st.sampled_from(Modality)


def suite_of(*entries: dict[str, Any], **more: Any) -> Suite:
    raw = {
        "schema": "aprqa-suite/1",
        "name": "trial",
        "version": 1,
        "category": "QUAL",
        "prompts": entries,
        **more,
    }
    return msgspec.convert(raw, Suite)


def entry(**more: Any) -> dict[str, Any]:
    base = {"id": "one", "oracle": {"kind": "garbage"}, "reference": "yes", "max_tokens": 8}
    return base | ({} if "turns" in more else {"text": "Well?"}) | more


def texts_of(drawn: DrawnPrompt) -> list[str]:
    case = drawn.case
    config = msgspec.json.encode(case.oracle.config).decode()
    return [*case.turns, *drawn.reference, case.system or "", config]


def test_all_suites_are_there_in_order_of_their_names() -> None:
    assert list(load_suites()) == NAMES
    assert all(suite.name == name for name, suite in load_suites().items())


def test_only_edge_and_stress_count_for_something_else_than_quality() -> None:
    categories = {name: suite.category for name, suite in load_suites().items()}
    assert categories.pop("edge") is Category.EDGE
    assert categories.pop("stress") is Category.STAB
    assert set(categories.values()) == {Category.QUAL}


@pytest.mark.parametrize(("suite", "entry"), ENTRIES, ids=ENTRY_IDS)
def test_a_gate_is_known_and_of_the_suites_category(suite: Suite, entry: SuiteEntry) -> None:
    gate_id = entry.gate or suite.gate
    if suite.category is Category.QUAL:
        assert gate_id is None
    else:
        gate = gate_catalogue()[str(gate_id)]
        assert gate.category is suite.category
        assert gate.made_by == "prompt"


def test_every_gate_of_odd_and_long_prompts_is_asked_for_in_every_modality() -> None:
    wanted = {
        gate.id
        for gate in gate_catalogue().values()
        if gate.made_by == "prompt" and gate.category in {Category.EDGE, Category.STAB}
    }
    for modality in Modality:
        asked = {
            entry.gate or suite.gate
            for suite in load_suites().values()
            for entry in entries_for(suite, modality)
        }
        assert wanted <= asked


@pytest.mark.parametrize(("suite", "entry"), ENTRIES, ids=ENTRY_IDS)
def test_the_oracle_is_known(suite: Suite, entry: SuiteEntry) -> None:
    assert entry.oracle.kind in ORACLES, suite.name


@pytest.mark.parametrize(("suite", "entry"), ENTRIES, ids=ENTRY_IDS)
def test_every_parameter_is_used_and_every_list_too(suite: Suite, entry: SuiteEntry) -> None:
    config = msgspec.json.encode(entry.oracle.config).decode()
    used = set().union(
        *(names_in(text) for text in (*entry.messages, *entry.references)),
        names_in(entry.system or ""),
        names_in(config),
    )
    for parameter in entry.parameters.values():
        for field in msgspec.structs.asdict(parameter).values():
            used.update([field] if isinstance(field, str) else [])
            used.update(item for item in field or () if isinstance(item, str))
    for name, parameter in entry.parameters.items():
        if parameter.row is not None:
            named = isinstance(parameter.row, str)
            rows = suite.lists[str(parameter.row)] if named else parameter.row
            assert len({frozenset(row) for row in rows}) == 1, suite.name
            assert set(rows[0]) <= used, suite.name
        else:
            assert name in used, suite.name


@pytest.mark.parametrize("name", NAMES)
def test_every_list_is_used(name: str) -> None:
    suite = load_suites()[name]
    used = {
        field
        for entry in suite.prompts
        for parameter in entry.parameters.values()
        for field in (parameter.choice, parameter.row, parameter.of)
        if isinstance(field, str)
    }
    assert used == set(suite.lists)


@given(suite=suites, index=indices, seed=seeds, modality=modalities)
def test_a_drawn_prompt_is_complete(
    suite: Suite, index: int, seed: int, modality: Modality
) -> None:
    drawn = draw_prompt(suite, index, seed=seed, modality=modality)
    case = drawn.case
    assert len(drawn.reference) == len(case.turns) >= 1
    assert all(drawn.reference)
    assert 0 <= case.seed < 2**31
    assert 0 <= case.temperature <= 1
    assert 1 <= case.max_tokens <= 256
    assert case.suite == f"{suite.name}@{suite.version}"
    assert drawn.category is suite.category
    for text in texts_of(drawn):
        assert not re.search(r"\{[a-z_]+(:int)?\}", text)


@given(suite=suites, index=indices, seed=seeds, modality=modalities)
def test_drawing_again_gives_the_same(
    suite: Suite, index: int, seed: int, modality: Modality
) -> None:
    first = draw_prompt(suite, index, seed=seed, modality=modality)
    assert draw_prompt(suite, index, seed=seed, modality=modality) == first


@given(suite=suites, index=indices, seed=seeds)
def test_each_modality_gets_what_it_can_ask(suite: Suite, index: int, seed: int) -> None:
    assert len(draw_prompt(suite, index, seed=seed, modality=Modality.RUN).case.turns) == 1
    assert not draw_prompt(suite, index, seed=seed, modality=Modality.CHAT).case.raw


@given(suite=suites, seed=seeds, modality=modalities)
@settings(max_examples=20)
def test_the_index_goes_through_all_entries_and_starts_over(
    suite: Suite, seed: int, modality: Modality
) -> None:
    entries = [entry.id for entry in entries_for(suite, modality)]
    drawn = [
        draw_prompt(suite, index, seed=seed, modality=modality).entry
        for index in range(2 * len(entries))
    ]
    assert drawn == entries * 2


def test_values_change_with_round_and_seed() -> None:
    suite = load_suites()["arithmetic"]
    count = len(entries_for(suite, Modality.CHAT))

    def question(index: int, seed: int) -> str:
        return draw_prompt(suite, index, seed=seed, modality=Modality.CHAT).case.turns[0]

    assert len({question(number * count, 42) for number in range(20)}) > 15
    assert len({question(0, seed) for seed in range(20)}) > 15


def test_sampling_seeds_differ() -> None:
    suite = load_suites()["facts"]
    drawn = {
        draw_prompt(suite, index, seed=42, modality=Modality.RUN).case.seed for index in range(100)
    }
    assert len(drawn) == 100


def test_another_version_draws_other_values() -> None:
    suite = load_suites()["arithmetic"]
    newer = msgspec.structs.replace(suite, version=suite.version + 1)
    old = draw_prompt(suite, 0, seed=42, modality=Modality.RUN).case
    new = draw_prompt(newer, 0, seed=42, modality=Modality.RUN).case
    assert new.suite == f"arithmetic@{suite.version + 1}"
    assert new.seed != old.seed


def test_some_prompts_are_sampled_and_most_are_greedy() -> None:
    temperatures = [entry.temperature for _, entry in ENTRIES]
    assert 3 <= sum(value > 0 for value in temperatures) < len(temperatures) / 4


def test_a_json_number_stays_a_number() -> None:
    suite = load_suites()["edge"]
    position = [entry.id for entry in suite.prompts].index("json")
    drawn = draw_prompt(suite, position, seed=42, modality=Modality.RUN)
    assert drawn.case.oracle.config["expect"] == json.loads(drawn.reference[0])


def test_a_fresh_process_draws_the_same() -> None:
    code = (
        "from aprqa_ci.planning.suites import draw_prompt, load_suites\n"
        "from aprqa_ci.vocabulary import Modality\n"
        "from aprqa_ci.wire import digest_of\n"
        "suite = load_suites()['conversation']\n"
        "print(digest_of([draw_prompt(suite, i, seed=7, modality=Modality.SERVE).case"
        " for i in range(30)]))\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    suite = load_suites()["conversation"]
    here = [draw_prompt(suite, i, seed=7, modality=Modality.SERVE).case for i in range(30)]
    assert answer.stdout.strip() == digest_of(here)


GOLDEN = [
    ("arithmetic", 0, Modality.RUN, "What is 5 + 6?", 1649335794),
    ("arithmetic", 15, Modality.CHAT, "What is 34 plus 34?", 1651089014),
    ("facts", 2, Modality.SERVE, "How many legs does a human have?", 1603368210),
    ("conversation", 0, Modality.CHAT, "My name is Anna.", 820145909),
    ("instruction", 0, Modality.RUN, "Repeat: paper school ship rain", 32047186),
    ("edge", 2, Modality.RUN, "Repeat: 🎵", 1759215180),
    ("stress", 1, Modality.RUN, "Count from 1 to 27. Separate the numbers with commas.", 212350176),
]


@pytest.mark.parametrize(("name", "index", "modality", "question", "sampling_seed"), GOLDEN)
def test_a_draw_stays_what_it_was(
    name: str, index: int, modality: Modality, question: str, sampling_seed: int
) -> None:
    """Plans name prompts by suite version: change the version when this changes."""
    case = draw_prompt(load_suites()[name], index, seed=42, modality=modality).case
    assert (case.turns[0], case.seed) == (question, sampling_seed)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (entry(turns=["a"], text="b"), "either text or turns"),
        (entry(text=None), "either text or turns"),
        (entry(turns=["a", "b"]), "one reference for each message"),
        (entry(turns=[], reference=[]), "one reference for each message"),
        (entry(raw=True, system="Be brief."), "neither turns nor a system message"),
        (entry(raw=True, turns=["a"]), "neither turns nor a system message"),
        (entry(tokens=3), "unknown field"),
    ],
)
def test_a_contradictory_entry_is_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        suite_of(raw, entry(id="two"))


def test_a_suite_has_no_two_entries_of_one_name() -> None:
    with pytest.raises(msgspec.ValidationError, match="the same id"):
        suite_of(entry(), entry())


def test_a_suite_of_conversations_has_nothing_to_run() -> None:
    suite = suite_of(entry(turns=["a", "b"], reference=["c", "d"]))
    assert [modality for modality in Modality if suite.has(modality)] == ["chat", "serve"]
    with pytest.raises(ValueError, match="trial has nothing to ask in run"):
        draw_prompt(suite, 0, seed=1, modality=Modality.RUN)


@pytest.mark.parametrize("name", NAMES)
def test_every_suite_has_something_for_every_modality(name: str) -> None:
    assert all(load_suites()[name].has(modality) for modality in Modality)


def test_an_entry_may_be_kept_to_some_modalities() -> None:
    suite = suite_of(entry(), entry(id="two", modalities=["serve"]))
    assert [found.id for found in entries_for(suite, Modality.RUN)] == ["one"]
    assert [found.id for found in entries_for(suite, Modality.SERVE)] == ["one", "two"]


def test_an_entrys_gate_goes_before_the_suites() -> None:
    suite = suite_of(entry(), entry(id="two", gate="F-X"), gate="F-Y")
    gates = [draw_prompt(suite, index, seed=1, modality=Modality.RUN).gate for index in range(2)]
    assert gates == ["F-Y", "F-X"]


def test_the_system_message_takes_parameters() -> None:
    suite = suite_of(entry(system="You are {w}.", parameters={"w": {"choice": ["Ada"]}}))
    drawn = draw_prompt(suite, 0, seed=1, modality=Modality.RUN)
    assert drawn.case.system == "You are Ada."
