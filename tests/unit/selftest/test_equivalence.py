"""The proof that a broken model is the sound one: it must not be had for any other."""

from pathlib import Path

import pytest

from aprqa_ci.data_files import bundled_model
from aprqa_ci.selftest.equivalence import proof_of_equivalence
from aprqa_ci.selftest.transforms import apply_transform

SOUND = bundled_model()
PROMPTS = ("What is 2 + 2?", "Say hello.")


def test_a_copy_is_the_same(model: Path) -> None:
    proof = proof_of_equivalence(SOUND, model, PROMPTS)
    assert "bit-equal logits" in proof
    assert "2 prompts" in proof
    for name in ("f16.gguf", "q8_0.gguf", "q4_0.gguf", "model.safetensors"):
        assert name in proof


def test_the_same_weights_in_shards_are_the_same(model: Path) -> None:
    apply_transform("shard", model, {"parts": 3, "damage": "none"})
    assert proof_of_equivalence(SOUND, model, PROMPTS)


@pytest.mark.parametrize(
    ("transform", "parameters"),
    [
        (
            "tensor",
            {
                "file": "*f16.gguf",
                "name": "output_norm.weight",
                "change": "scale",
                "strength": 1.01,
            },
        ),
        ("swap-tokens", {"count": 300, "seed": 1}),
        ("special-token", {"token": "<|im_end|>", "special": False}),
        ("chat-template", {"text": "{{ messages[-1]['content'] }}"}),
        (
            "json-value",
            {"file": "generation_config.json", "keys": ["eos_token_id"], "value": [2, 5]},
        ),
        ("truncate", {"file": "*q4_0.gguf", "share": 0.5}),
        ("remove", {"file": "*.safetensors"}),
    ],
)
def test_a_model_that_differs_in_one_file_is_not(
    model: Path, transform: str, parameters: dict[str, object]
) -> None:
    apply_transform(transform, model, parameters)
    assert proof_of_equivalence(SOUND, model, PROMPTS) == ""


def test_a_template_that_treats_system_messages_otherwise_is_not(model: Path) -> None:
    sound = (
        "{% for message in messages if message['role'] != 'system' %}"
        "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    apply_transform("chat-template", model, {"text": sound})
    assert proof_of_equivalence(SOUND, model, PROMPTS) == ""


def test_nothing_asked_shows_nothing(model: Path, tmp_path: Path) -> None:
    assert proof_of_equivalence(SOUND, model, ()) == ""
    assert proof_of_equivalence(tmp_path, model, PROMPTS) == ""
