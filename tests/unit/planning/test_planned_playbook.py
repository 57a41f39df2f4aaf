import pytest

from aprqa_ci.planning.performance import answer_tokens, measured_text
from aprqa_ci.vocabulary import FailurePolicy
from tests.playbooks import TIERS, load, planned, playbook_data


def test_what_the_playbook_says_is_in_the_plan() -> None:
    data = playbook_data(
        model={
            "revision": "a" * 40,
            "formats": ["gguf"],
            "quantizations": ["q4_0"],
            "family": "llama",
            "size_variant": "1m",
            "expected_num_layers": 2,
            "expected_vocab_size": 288,
        },
        test_matrix={"seed": 7, "timeout_ms": 5000},
        failure_policy="fail_fast",
        profile_ci={"warmup": 3, "measure": 9},
        trace_payload={},
        oracles=[{"type": "garbage", "config": {"min_unique_chars": 3}}],
    )
    plan = planned(data, tier="mvp")
    (book,) = plan.playbooks
    loaded = load(data)
    assert (book.name, book.version, book.digest) == ("tiny", "1.0.0", loaded.digest)
    assert (book.seed, book.failure_policy) == (7, FailurePolicy.FAIL_FAST)
    assert (book.warmup, book.measure) == (3, 9)
    assert book.declared_not_run == ("trace_payload",)
    why = "trace_payload is not run: no engine here shows the values of its layers"
    assert book.warnings.count(why) == 1
    assert book.oracles == {"garbage": {"min_unique_chars": 3}}
    assert book.model.revision == "a" * 40
    assert (book.model.family, book.model.size_variant) == ("llama", "1m")
    assert book.model.quantizations == ("q4_0",)
    assert book.model.expected == {"num_layers": 2, "vocab_size": 288}
    assert {cell.timeout_ms for cell in plan.cells} == {5000}


def test_without_a_profile_the_defaults_hold() -> None:
    (book,) = planned(playbook_data(), tier="quick").playbooks
    assert (book.warmup, book.measure) == (1, 5)
    assert book.model.expected == {}
    assert book.declared_not_run == ()
    assert book.oracles == {}


@pytest.mark.parametrize("tier", TIERS)
def test_probes_are_short_single_and_of_different_suites(tier: str) -> None:
    (book,) = planned(playbook_data(), tier=tier).playbooks
    assert len(book.probe_prompts) >= 3
    assert all(len(case.turns) == 1 for case in book.probe_prompts)
    assert all(case.max_tokens <= answer_tokens() for case in book.probe_prompts)
    assert len({case.suite for case in book.probe_prompts}) == len(book.probe_prompts)
    assert book.measured_prompt is not None
    assert book.measured_prompt.turns == (measured_text(),)
    assert book.measured_prompt.max_tokens == answer_tokens()


def test_warnings_of_the_playbook_go_along() -> None:
    (book,) = planned(playbook_data(gates={"g1_model_loads": "true"}), tier="quick").playbooks
    assert len(book.warnings) == 1
    assert "g1_model_loads" in book.warnings[0]
