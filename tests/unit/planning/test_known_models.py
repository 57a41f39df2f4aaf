from pathlib import Path

import pytest

from aprqa_ci.planning.authoring import facts_of, find_template, write_playbook
from aprqa_ci.planning.known_models import (
    KnownModel,
    known_model,
    known_models,
    known_size,
    made_quantizations,
)
from aprqa_ci.planning.model_size import category_of, named_billions
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.playbook.load import load_playbooks
from aprqa_ci.vocabulary import ModelFormat

_MODELS = known_models()
_NEXT_TO_ONE_ANOTHER = 1
_REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_catalogue_holds_what_is_widely_used() -> None:
    assert len({each.repo.lower() for each in _MODELS}) == len(_MODELS) >= 30
    assert len({each.name for each in _MODELS}) == len(_MODELS)
    assert len({each.family for each in _MODELS}) >= 10


@pytest.mark.parametrize("model", _MODELS, ids=lambda each: each.name)
def test_the_facts_of_a_model_fit_together(model: KnownModel) -> None:
    assert model.num_heads % model.num_kv_heads == 0
    assert ModelFormat.SAFETENSORS in model.formats
    # The name, the size and the dimensions tell the same number of parameters, roughly.
    told = named_billions(model.size) or named_billions(model.repo)
    projections = 3 if model.family not in {"starcoder2", "gpt2", "phi"} else 2
    per_layer = model.hidden_dim * (2 * model.hidden_dim + projections * model.intermediate_dim)
    billions = (model.num_layers * per_layer + model.vocab_size * model.hidden_dim) / 1e9
    if told is not None:
        assert 0.6 < billions / told < 1.6
        sizes = list(type(model.size_category))
        # Contracts call some models a size smaller or larger than the number of parameters says.
        distance = sizes.index(model.size_category) - sizes.index(category_of(told))
        assert abs(distance) <= _NEXT_TO_ONE_ANOTHER


def test_every_tier_has_quantizations_to_make() -> None:
    assert all(made_quantizations(tier) for tier in load_tiers())


def test_a_model_is_found_by_repository_and_by_family_and_size() -> None:
    model = known_model("qwen/qwen2.5-coder-0.5b-INSTRUCT")
    assert model is not None
    assert model.repo == "Qwen/Qwen2.5-Coder-0.5B-Instruct"
    assert known_model("Qwen/Qwen2.5-Coder-0.5B") is None
    found = known_size("qwen3", "4b")
    assert found is not None
    assert found.repo == "Qwen/Qwen3-4B"
    assert known_size("qwen3", "4.5b") is None


def test_the_shipped_playbooks_are_what_init_writes() -> None:
    shipped = {
        each.path.name: each for each in load_playbooks([_REPOSITORY / "playbooks" / "models"])
    }
    written = 0
    for model in _MODELS:
        for tier in load_tiers():
            loaded = shipped.get(f"{model.name}-{tier}.playbook.yaml")
            if loaded is None or loaded.playbook.name == "smollm2-135m-quick":
                continue
            template, source = find_template(tier, folder=None)
            text = write_playbook(template, facts_of(model.repo, tier), source=source)
            assert loaded.path.read_text() == text
            written += 1
    assert written >= 50
    four = [name for name in shipped if name.startswith(("qwen2.5-coder-0.5b-", "llama-3.2-1b-"))]
    assert len(four) == 2 * len(load_tiers())
