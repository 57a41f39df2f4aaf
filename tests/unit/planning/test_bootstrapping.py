from dataclasses import replace
from pathlib import Path

import pytest

from aprqa_ci.data_files import load_data
from aprqa_ci.errors import InputError
from aprqa_ci.planning.authoring import find_template, write_playbook
from aprqa_ci.planning.bootstrapping import _BootstrapFile, bootstrap_facts
from aprqa_ci.planning.expand import PlanOptions, expand
from aprqa_ci.planning.family_contract import FamilyContract, SizeFacts
from aprqa_ci.planning.oracle_choice import choose_oracle
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.playbook.load import parse_playbook
from aprqa_ci.vocabulary import SizeCategory

_QWEN = FamilyContract(
    path=Path("qwen2.yaml"),
    family="qwen2",
    hf_pattern="Qwen/Qwen2*",
    sizes={
        "0.5b": SizeFacts(hidden_dim=896, num_layers=24, max_position_embeddings=32768),
        "short": SizeFacts(hidden_dim=896, max_position_embeddings=4096, tied_embeddings=True),
    },
    constraints={
        "attention_type": "gqa",
        "activation": "silu",
        "norm_type": "rmsnorm",
        "has_bias": "true",
        "tied_embeddings": "false",
        "positional_encoding": "rope",
        "mlp_type": "swiglu",
    },
    size_categories={"0.5b": SizeCategory.TINY},
    registry_family="qwen",
)


def _kernels(contract: FamilyContract, size: str = "0.5b") -> list[str]:
    facts = bootstrap_facts(contract, size, "mvp", repo="Qwen/Qwen2.5-0.5B-Instruct")
    kernels: list[str] = facts.sections["kernel_profile"]["kernel_ops"]
    return kernels


def test_the_kernels_are_those_of_the_architecture() -> None:
    assert _kernels(_QWEN) == [
        "FusedQ4kMatvec",
        "FusedQ6kMatvec",
        "GroupedQueryAttention",
        "RmsNorm",
        "Silu",
        "SwiGlu",
        "Rope",
        "BiasAdd",
    ]


@pytest.mark.parametrize(
    ("constraint", "value", "kernel"),
    [
        ("attention_type", "mha", "MultiHeadAttention"),
        ("attention_type", "mqa", "MultiQueryAttention"),
        ("norm_type", "layernorm", "LayerNorm"),
        ("activation", "gelu", "Gelu"),
        ("positional_encoding", "alibi", "Alibi"),
        ("positional_encoding", "absolute", "AbsolutePosition"),
        ("tied_embeddings", "true", "TiedEmbeddings"),
    ],
)
def test_a_constraint_changes_the_kernels(constraint: str, value: str, kernel: str) -> None:
    assert kernel not in _kernels(_QWEN)
    changed = replace(_QWEN, constraints={**_QWEN.constraints, constraint: value})
    assert kernel in _kernels(changed)


def test_what_a_size_says_comes_before_its_family() -> None:
    assert "TiedEmbeddings" in _kernels(_QWEN, "short")


def test_long_questions_are_for_long_contexts() -> None:
    repo = "Qwen/Qwen2.5-0.5B-Instruct"
    long = bootstrap_facts(_QWEN, "0.5b", "mvp", repo=repo)
    short = bootstrap_facts(_QWEN, "short", "mvp", repo=repo)
    assert len(long.test_matrix["prompts"]) == len(short.test_matrix["prompts"]) + 3
    assert long.sections["kernel_profile"]["long_context"] is True
    assert short.sections["kernel_profile"]["long_context"] is False
    assert max(map(len, short.test_matrix["prompts"])) < 100


@pytest.mark.parametrize("tier", load_tiers())
def test_what_is_written_loads_and_asks_every_question(tier: str) -> None:
    template, source = find_template(tier, folder=None)
    facts = bootstrap_facts(_QWEN, "0.5b", tier)
    loaded = parse_playbook(write_playbook(template, facts, source=source).encode(), path=source)
    assert loaded.warnings == ()
    model = loaded.playbook.model
    assert (model.hf_repo, model.family, model.size_variant) == (
        "Qwen/Qwen2.5-0.5B-Instruct",
        "qwen2",
        "0.5b",
    )
    assert (model.expected_hidden_dim, model.size_category) == (896, "tiny")
    assert loaded.playbook.name == f"qwen2-0.5b-{tier}"
    plan = expand([loaded], options=PlanOptions(), tool_version="0", root=Path())
    own = set(facts.test_matrix["prompts"])
    for cell in plan.cells:
        asked = {
            each.prompt.turns[0]
            for each in cell.scenarios
            if each.prompt is not None and each.prompt.suite == "playbook"
        }
        assert asked == own


def test_every_question_has_an_answer_that_can_be_checked() -> None:
    data = load_data("bootstrap.yaml", _BootstrapFile)
    prompts = {" ".join(text.split()) for trait in data.traits for text in trait.prompts}
    assert len(prompts) >= 16
    kinds = {prompt: choose_oracle(prompt).kind for prompt in prompts}
    assert set(kinds.values()) == {"arithmetic", "code_syntax"}


def test_a_repository_that_nobody_knows_is_asked_for() -> None:
    contract = replace(_QWEN, family="acme", hf_pattern="acme/*")
    with pytest.raises(
        InputError, match=r"no repository is known for acme 0\.5b .*--repo.*acme/\*"
    ):
        bootstrap_facts(contract, "0.5b", "mvp")
    assert bootstrap_facts(contract, "0.5b", "mvp", repo="acme/x").name == "acme-0.5b"
    with pytest.raises(InputError, match="has no size"):
        bootstrap_facts(contract, "7b", "mvp")
