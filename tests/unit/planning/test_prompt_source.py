from typing import Any

import pytest

from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.plan import PromptCase
from aprqa_ci.planning.prompt_source import PromptSource
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.vocabulary import Backend, Modality
from tests.playbooks import load, playbook_data


def source(tier: str = "mvp", **matrix: Any) -> PromptSource:
    return PromptSource(load(playbook_data(test_matrix=matrix)).playbook, load_tiers()[tier])


def cases(dealer: PromptSource, number: int, modality: Modality = Modality.RUN) -> list[PromptCase]:
    return [case for _, case in dealer.cell_prompts(modality, Backend.CPU, number)]


def test_own_prompts_and_the_suites_take_turns() -> None:
    dealt = cases(source("quick", prompts=["What is 1+1?", "Say yes."]), 6)
    assert [case.suite == "playbook" for case in dealt] == [True, False] * 3
    assert [case.turns[0] for case in dealt[::2]] == ["What is 1+1?", "Say yes.", "What is 1+1?"]


def test_the_next_cell_goes_on_where_the_last_one_stopped() -> None:
    parts = source("quick", prompts=["What is 1+1?", "Say yes."])
    whole = source("quick", prompts=["What is 1+1?", "Say yes."])
    assert cases(parts, 3) + cases(parts, 5) == cases(whole, 8)


def test_all_suites_of_the_tier_have_their_turn() -> None:
    suites = load_tiers()["quick"].suites
    for prompts, number in ((None, len(suites)), (["What is 1+1?"], 2 * len(suites))):
        dealt = cases(source("quick", prompts=prompts), number)
        names = [case.suite.partition("@")[0] for case in dealt if case.suite != "playbook"]
        assert names == list(suites)


def test_a_conversation_is_not_asked_where_there_is_no_history() -> None:
    number = 5 * len(load_tiers()["mvp"].suites)
    assert all(len(case.turns) == 1 for case in cases(source(), number, Modality.RUN))
    assert any(len(case.turns) > 1 for case in cases(source(), number, Modality.CHAT))


def test_extra_prompts_come_on_top() -> None:
    tier = load_tiers()["full"]
    dealt = cases(source("full"), 4)
    assert len(dealt) == 4 + tier.edge + tier.stress
    suites = [case.suite.partition("@")[0] for case in dealt[4:]]
    assert suites == ["edge"] * tier.edge + ["stress"] * tier.stress


@pytest.mark.parametrize("backend", Backend)
@pytest.mark.parametrize("modality", Modality)
def test_quality_has_a_gate_for_each_modality_and_backend(
    modality: Modality, backend: Backend
) -> None:
    (gate, _), *_ = source("quick").cell_prompts(modality, backend, 1)
    meaning = gate_catalogue()[gate].meaning.lower()
    assert gate.startswith("F-A")
    assert str(backend) in meaning
    assert str(modality) in meaning


def test_edge_cases_count_for_their_own_gates() -> None:
    dealt = source("mvp").cell_prompts(Modality.RUN, Backend.CPU, 1)[1:]
    assert {gate_catalogue()[gate].category for gate, _ in dealt} == {"EDGE"}


def test_code_is_continued_and_not_asked() -> None:
    dealt = cases(source("quick", prompts=["def add(a, b):", "What is 1+1?"]), 3)
    assert [case.raw for case in dealt[::2]] == [True, False]


def test_settings_of_oracles_take_effect() -> None:
    oracle = {"type": "arithmetic", "config": {"tolerance": 0.5}}
    data = playbook_data(test_matrix={"prompts": ["What is 1+1?"]}, oracles=[oracle])
    dealer = PromptSource(load(data).playbook, load_tiers()["quick"])
    (case,) = cases(dealer, 1)
    assert case.oracle.kind in {"arithmetic", "composite"}
    assert "0.5" in str(case.oracle.config)


def test_a_talkative_model_has_room_to_come_to_the_answer() -> None:
    dealt = cases(source("mvp"), 40)
    assert min(case.max_tokens for case in dealt) == 64
    assert max(case.max_tokens for case in dealt) > 64
