"""Each kind of damage ends in its gate, and only what is sound is corroborated."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from aprqa_ci.execution.integrity import contents
from aprqa_ci.execution.integrity.finding import FindingState
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.gates import inspect_gate_ids
from aprqa_ci.vocabulary import ModelFormat

Change = Callable[[Any, Any], object]
"""Changes a model; gets the kit as well."""


class Damage(NamedTuple):
    """A change, the gates that it falsifies, and words of one of their reasons."""

    name: str
    change: Change
    gates: set[str]
    words: str


CONFIG, LAYERS, HIDDEN, HEADS = (
    f"G0-INTEGRITY-{name}" for name in ("CONFIG", "LAYERS", "HIDDEN", "HEADS")
)
VOCAB, DTYPE, FINITE = (f"G0-INTEGRITY-{name}" for name in ("VOCAB", "DTYPE", "FINITE"))
DIGEST, TENSOR, TOKENIZER, METADATA = (
    f"G0-{name}-001" for name in ("DIGEST", "TENSOR", "TOKENIZER", "METADATA")
)
NEED_WEIGHTS = {LAYERS, HIDDEN, HEADS, VOCAB, DTYPE, FINITE, TENSOR}
NEED_CONFIG = {CONFIG, LAYERS, HIDDEN, HEADS, VOCAB, DTYPE, TENSOR}


def config(**changes: Any) -> Change:
    def change(model: Any, _: Any) -> None:
        model.config |= changes
        for key in [key for key, value in changes.items() if value is None]:
            del model.config[key]

    return change


def metadata(**changes: Any) -> Change:
    """Change metadata; ``__`` stands for a dot, None takes the key away."""

    def change(model: Any, _: Any) -> None:
        for name, value in changes.items():
            key = name.replace("__", ".")
            if value is None:
                del model.metadata[key]
            else:
                model.metadata[key] = value

    return change


def without(name: str) -> Change:
    def change(model: Any, _: Any) -> None:
        del model.tensors[name]

    return change


def test_a_sound_model_is_corroborated_in_every_gate(kit: Any, look: Any, tmp_path: Path) -> None:
    truth = kit.HfModel().write(tmp_path / "hf")
    dimensions = {
        "num_layers": 2,
        "hidden_dim": 32,
        "num_heads": 4,
        "num_kv_heads": 2,
        "vocab_size": 262,
        "intermediate_dim": 64,
    }
    for model in (truth, kit.GgufModel().write(tmp_path / "gguf")):
        findings = look(model, truth, dimensions)
        assert tuple(findings) == inspect_gate_ids(model.format)
        states = {gate: found.state for gate, found in findings.items()}
        assert set(states.values()) == {FindingState.CORROBORATED}, states
        assert all(found.reason for found in findings.values())


def _forget_bytes(model: Any, kit: Any) -> None:
    symbols = kit.byte_symbols()
    for byte in "é".encode():
        del model.tokenizer["model"]["vocab"][symbols[byte]]


HF_DAMAGE: list[Damage] = [
    Damage(
        "one layer too many claimed", config(num_hidden_layers=3), {LAYERS, TENSOR}, "end with 2"
    ),
    Damage(
        "one layer too few claimed", config(num_hidden_layers=1), {LAYERS, TENSOR}, "layers 1 as"
    ),
    Damage(
        "a layer is cut out",
        lambda m, _: [m.tensors.pop(n) for n in list(m.tensors) if ".layers.0." in n],
        {LAYERS, TENSOR},
        "layers 0 are missing",
    ),
    Damage("wrong hidden size", config(hidden_size=64), {HIDDEN, TENSOR}, "says hidden_dim 64"),
    Damage("wrong heads", config(num_attention_heads=8), {HEADS, TENSOR}, "8 heads × 8 gives 64"),
    Damage(
        "wrong KV heads", config(num_key_value_heads=4), {HEADS, TENSOR}, "4 KV heads × 8 gives 32"
    ),
    Damage(
        "KV heads that cannot be shared",
        config(num_key_value_heads=3),
        {CONFIG, HEADS, TENSOR},
        "share 3",
    ),
    Damage("wrong head_dim", config(head_dim=16), {HEADS, TENSOR}, "4 heads × 16 gives 64"),
    Damage("vocabulary too large", config(vocab_size=300), {VOCAB, TENSOR}, "says vocab_size 300"),
    Damage("vocabulary too small", config(vocab_size=261), {VOCAB, TENSOR}, "says vocab_size 261"),
    Damage("wrong feed-forward width", config(intermediate_size=65), {TENSOR}, "not 65×32"),
    Damage("wrong label", config(torch_dtype="bfloat16"), {DTYPE}, "says bf16"),
    Damage(
        "a dimension is missing", config(num_attention_heads=None), {CONFIG, TENSOR}, "is missing"
    ),
    Damage(
        "a dimension is a text", config(hidden_size="32"), {CONFIG, TENSOR}, "not a whole number"
    ),
    Damage("a dimension is negative", config(num_hidden_layers=-2), {CONFIG, TENSOR}, "is -2"),
    Damage("a number beyond floats", config(rms_norm_eps=10**400), {CONFIG, TENSOR}, "positive"),
    Damage(
        "no architecture", config(architectures=None), {CONFIG, TENSOR}, "architectures is missing"
    ),
    Damage(
        "a tensor is missing",
        without("model.layers.1.mlp.up_proj.weight"),
        {TENSOR},
        "missing 1 tensor",
    ),
    Damage("no embedding", without("model.embed_tokens.weight"), {VOCAB, TENSOR}, "embedding"),
    Damage("no tensors at all", lambda m, _: m.tensors.clear(), NEED_WEIGHTS, "holds no tensors"),
    Damage(
        "an unknown tensor",
        lambda m, _: m.tensors.update({"model.extra.weight": np.ones(4, np.float16)}),
        {TENSOR},
        "foreign to this architecture: model.extra.weight",
    ),
    Damage(
        "another tool's names",
        lambda m, _: _rename(m, "model.layers.", "encoder.block."),
        {LAYERS, HEADS, TENSOR},
        "decoder layer",
    ),
    Damage(
        "two projections swapped",
        lambda m, _: _swap(m, "0.self_attn.q_proj", "0.self_attn.k_proj"),
        {HEADS, TENSOR},
        "16×32",
    ),
    Damage(
        "an untied output of another size",
        lambda m, _: _output(m, 261),
        {VOCAB, TENSOR},
        "not the same vocabulary",
    ),
    Damage(
        "a NaN",
        lambda m, _: _spoil(m, "model.layers.1.mlp.up_proj.weight", np.nan),
        {FINITE},
        "has 1",
    ),
    Damage(
        "an infinity",
        lambda m, _: _spoil(m, "model.norm.weight", -np.inf),
        {FINITE},
        "model.norm.weight (F16) has 1",
    ),
    Damage(
        "no tokenizer",
        lambda m, _: setattr(m, "tokenizer", None),
        {TOKENIZER},
        "the tokenizer is missing",
    ),
    Damage(
        "a tokenizer without a vocabulary",
        lambda m, _: m.tokenizer.update(model={}),
        {TOKENIZER},
        "no vocabulary",
    ),
    Damage("a tokenizer that drops bytes", _forget_bytes, {TOKENIZER}, "accents"),
    Damage(
        "a tokenizer of a larger model",
        lambda m, _: m.tokenizer["model"]["vocab"].update(extra=400),
        {VOCAB},
        "needs 401 rows",
    ),
]


def _rename(model: Any, old: str, new: str) -> None:
    model.tensors = {name.replace(old, new): array for name, array in model.tensors.items()}


def _swap(model: Any, one: str, other: str) -> None:
    one, other = (f"model.layers.{name}.weight" for name in (one, other))
    model.tensors[one], model.tensors[other] = model.tensors[other], model.tensors[one]


def _output(model: Any, rows: int) -> None:
    model.config["tie_word_embeddings"] = False
    model.tensors["lm_head.weight"] = model.tensors["model.embed_tokens.weight"][:rows]


def _spoil(model: Any, name: str, value: float) -> None:
    model.tensors[name].flat[-1] = value


@pytest.mark.parametrize("damage", HF_DAMAGE, ids=lambda damage: damage.name)
def test_damage_to_a_safetensors_model_falsifies_its_gates(
    kit: Any, look: Any, tmp_path: Path, damage: Damage
) -> None:
    model = kit.HfModel()
    damage.change(model, kit)
    findings = look(model.write(tmp_path))
    assert kit.fallen(findings) == damage.gates
    assert any(damage.words in findings[gate].reason for gate in damage.gates), findings


GGUF_DAMAGE: list[Damage] = [
    Damage(
        "wrong layers", metadata(llama__block_count=3), {LAYERS, TENSOR, METADATA}, "says 3 layers"
    ),
    Damage(
        "wrong hidden size",
        metadata(llama__embedding_length=64),
        {HIDDEN, HEADS, TENSOR, METADATA},
        "hidden_dim is 64, and 32",
    ),
    Damage(
        "wrong heads",
        metadata(llama__attention__head_count=2),
        {HEADS, TENSOR, METADATA},
        "num_heads is 2, and 4",
    ),
    Damage(
        "wrong KV heads",
        metadata(llama__attention__head_count_kv=1),
        {HEADS, TENSOR, METADATA},
        "num_kv_heads is 1",
    ),
    Damage(
        "wrong vocabulary",
        metadata(llama__vocab_size=300),
        {VOCAB, TENSOR, METADATA},
        "vocab_size is 300",
    ),
    Damage(
        "wrong feed-forward width",
        metadata(llama__feed_forward_length=65),
        {TENSOR, METADATA},
        "intermediate_dim is 65",
    ),
    Damage(
        "wrong context",
        metadata(llama__context_length=4096),
        {METADATA},
        "context_length is 4096, and 128",
    ),
    Damage(
        "wrong rope base",
        metadata(llama__rope__freq_base=500000.0),
        {METADATA},
        "rope_theta is 500000, and 10000",
    ),
    Damage("no rope base is the default", metadata(llama__rope__freq_base=None), set(), ""),
    Damage(
        "wrong norm",
        metadata(llama__attention__layer_norm_rms_epsilon=1e-6),
        {METADATA},
        "epsilon is 1e-06, and 1e-05",
    ),
    Damage(
        "no norm",
        metadata(llama__attention__layer_norm_rms_epsilon=None),
        {CONFIG, TENSOR, METADATA},
        "epsilon is missing",
    ),
    Damage(
        "scaled frequencies",
        metadata(llama__rope__scaling__type="linear", llama__rope__scaling__factor=4.0),
        {METADATA},
        "only the GGUF file scales",
    ),
    Damage(
        "wrong end",
        metadata(tokenizer__ggml__eos_token_id=1),
        {METADATA},
        "the eos token is 1, and 2",
    ),
    Damage(
        "no end",
        metadata(tokenizer__ggml__eos_token_id=None),
        {METADATA},
        "the eos token is missing",
    ),
    Damage(
        "wrong beginning",
        metadata(tokenizer__ggml__bos_token_id=5),
        {METADATA},
        "the bos token is 5, and 0",
    ),
    Damage(
        "two tokens swapped",
        lambda m, _: _swap_tokens(m, 40, 41),
        {METADATA},
        "2 tokens of another text: 40 is",
    ),
    Damage(
        "a token too many",
        lambda m, _: _add_token(m, "more", 1),
        {VOCAB, METADATA},
        "1 token not in the ground truth: more",
    ),
    Damage(
        "merges in another order",
        metadata(tokenizer__ggml__merges=["th e", "t h", "Ġ t"]),
        {METADATA},
        "merge 0 is 'th e', and 't h'",
    ),
    Damage(
        "a merge is missing",
        metadata(tokenizer__ggml__merges=["t h"]),
        {METADATA},
        "1 merges, and 3",
    ),
    Damage(
        "no tokens",
        metadata(tokenizer__ggml__tokens=None),
        {TOKENIZER, METADATA},
        "tokens is missing",
    ),
    Damage(
        "wrong file type",
        metadata(general__file_type=7),
        {DTYPE},
        "general.file_type says q8_0, and most",
    ),
    Damage(
        "a wrong name",
        lambda m, _: setattr(m, "name", "tiny.Q4_K_M.gguf"),
        {DTYPE},
        "the file's name says q4_k_m",
    ),
    Damage(
        "not what was asked for",
        lambda m, _: setattr(m, "quantization", "Q8_0"),
        {DTYPE},
        "asks for q8_0",
    ),
    Damage(
        "one tensor of fewer bits",
        lambda m, kit: _store(m, kit, "blk.0.ffn_up.weight", "Q4_0"),
        {DTYPE},
        "blk.0.ffn_up.weight is Q4_0",
    ),
    Damage(
        "a NaN in half precision",
        lambda m, _: _overwrite(m, "blk.0.ffn_up.weight", b"\xff\xff"),
        {FINITE},
        "blk.0.ffn_up.weight (F16) has 1",
    ),
    Damage(
        "a tensor is missing",
        without("blk.1.attn_v.weight"),
        {TENSOR},
        "model.layers.1.self_attn.v_proj.weight",
    ),
    Damage(
        "an unknown tensor",
        lambda m, kit: m.tensors.update({"blk.0.x.weight": kit.stored(np.ones(32), "F32")}),
        {TENSOR},
        "foreign to this architecture: blk.0.x.weight",
    ),
    Damage(
        "no architecture",
        metadata(general__architecture=None),
        {CONFIG, TENSOR, METADATA},
        "general.architecture is missing",
    ),
    Damage("no tensors", lambda m, _: m.tensors.clear(), NEED_WEIGHTS, "holds no tensors"),
]


def _swap_tokens(model: Any, one: int, other: int) -> None:
    tokens = model.metadata["tokenizer.ggml.tokens"]
    tokens[one], tokens[other] = tokens[other], tokens[one]


def _add_token(model: Any, text: str, kind: int) -> None:
    model.metadata["tokenizer.ggml.tokens"].append(text)
    model.metadata["tokenizer.ggml.token_type"].append(kind)


def _store(model: Any, kit: Any, name: str, dtype: str) -> None:
    model.tensors[name] = kit.stored(np.zeros(model.tensors[name].shape), dtype)


def _overwrite(model: Any, name: str, raw: bytes) -> None:
    model.tensors[name].data = raw + model.tensors[name].data[len(raw) :]


@pytest.mark.parametrize("damage", GGUF_DAMAGE, ids=lambda damage: damage.name)
def test_damage_to_a_gguf_file_falsifies_its_gates(
    kit: Any, look: Any, tmp_path: Path, damage: Damage
) -> None:
    truth = kit.HfModel().write(tmp_path / "hf")
    model = kit.GgufModel()
    damage.change(model, kit)
    findings = look(model.write(tmp_path / "gguf"), truth)
    assert kit.fallen(findings) == damage.gates
    said = " ".join(findings[gate].reason for gate in damage.gates)
    assert damage.words in said, findings


@pytest.mark.parametrize("keep", [0, 4, 9, 300, 5000, -1])
def test_a_truncated_file_falsifies_every_gate_that_needs_it(
    kit: Any, look: Any, tmp_path: Path, keep: int
) -> None:
    truth = kit.HfModel().write(tmp_path / "truth")
    for model in (kit.HfModel().write(tmp_path / "hf"), kit.GgufModel().write(tmp_path / "gguf")):
        path = model.weights[0]
        data = path.read_bytes()
        path.write_bytes(data[: len(data) - 64 if keep < 0 else keep])
        findings = look(model, truth)
        gates = set(NEED_WEIGHTS)
        if model.format is ModelFormat.GGUF:
            gates |= {CONFIG, TOKENIZER, METADATA}
        if keep == 0:
            gates.add(DIGEST)
        assert kit.fallen(findings) == gates
        assert all(path.name in findings[gate].reason for gate in gates)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_missing_or_damaged_config_falsifies_what_needs_it(
    kit: Any, look: Any, tmp_path: Path, content: bytes | None
) -> None:
    model = kit.HfModel().write(tmp_path)
    path = tmp_path / "config.json"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    findings = look(model)
    assert kit.fallen(findings) - {DIGEST} == NEED_CONFIG
    assert all("config.json" in findings[gate].reason for gate in NEED_CONFIG)
    assert (DIGEST in kit.fallen(findings)) == (content == b"")


def test_the_playbook_s_dimensions_are_compared(kit: Any, look: Any, tmp_path: Path) -> None:
    model = kit.HfModel().write(tmp_path)
    for dimension, gate in (
        ("num_layers", LAYERS),
        ("hidden_dim", HIDDEN),
        ("num_heads", HEADS),
        ("num_kv_heads", HEADS),
        ("vocab_size", VOCAB),
        ("intermediate_dim", CONFIG),
    ):
        findings = look(model, None, {dimension: 7})
        assert kit.fallen(findings) == {gate}
        assert f"the playbook declares {dimension} 7" in findings[gate].reason


def test_what_is_not_known_here_is_skipped_and_the_rest_is_judged(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.HfModel()
    model.config["architectures"] = ["Gemma9ForCausalLM"]
    findings = look(model.write(tmp_path / "sound"))
    assert kit.fallen(findings) == set()
    skipped = {gate for gate, found in findings.items() if found.state is FindingState.SKIPPED}
    assert skipped == {TENSOR}
    assert findings[TENSOR].reason.startswith("not judged: ")
    assert "Gemma9" in findings[TENSOR].reason

    model.config |= {"num_hidden_layers": 3, "num_key_value_heads": 4, "vocab_size": 400}
    findings = look(model.write(tmp_path / "broken"))
    assert kit.fallen(findings) == {LAYERS, HEADS, VOCAB}


def test_foreign_names_are_never_corroborated_and_never_held_against_a_model(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.HfModel(config={"model_type": "strange", "width": 32, "torch_dtype": "float16"})
    model.tensors = {"a.b": np.ones((4, 4), np.float16), "c": np.ones(4, np.float16)}
    findings = look(model.write(tmp_path))
    assert kit.fallen(findings) == set()
    passed = {g for g, found in findings.items() if found.state is FindingState.CORROBORATED}
    assert passed == {DIGEST, DTYPE, FINITE, TOKENIZER}


def test_a_config_that_names_nothing_is_falsified(kit: Any, look: Any, tmp_path: Path) -> None:
    findings = look(kit.HfModel(config={}).write(tmp_path))
    assert CONFIG in kit.fallen(findings)


def test_spellings_of_other_families_are_understood(kit: Any, look: Any, tmp_path: Path) -> None:
    model = kit.HfModel(
        config={
            "architectures": ["GPTNeoXForCausalLM"],
            "text_config": {
                "hidden_size": 32,
                "n_layer": 2,
                "n_head": 4,
                "vocab_size": 262,
                "torch_dtype": "torch.float16",
            },
        }
    )
    embedding = model.tensors["model.embed_tokens.weight"]
    model.tensors = {"gpt_neox.embed_in.weight": embedding, "embed_out.weight": embedding}
    for layer in range(2):
        model.tensors |= {
            f"gpt_neox.layers.{layer}.input_layernorm.weight": np.ones(32, np.float16),
            f"gpt_neox.layers.{layer}.attention.query_key_value.weight": np.ones(
                (96, 32), np.float16
            ),
        }
        model.tensors[f"vision_tower.encoder.layers.{layer + 7}.x.weight"] = np.ones(
            (5, 5), np.float16
        )
    findings = look(model.write(tmp_path))
    assert kit.fallen(findings) == set()
    for gate in (CONFIG, LAYERS, HIDDEN, HEADS, VOCAB, DTYPE):
        assert findings[gate].state is FindingState.CORROBORATED, findings[gate]

    model.config["text_config"]["n_head"] = 8
    model.tensors["gpt_neox.layers.1.attention.query_key_value.weight"] = np.ones(
        (95, 32), np.float16
    )
    findings = look(model.write(tmp_path))
    assert kit.fallen(findings) == {HEADS}
    assert "(8 + 2 × 8 heads) × 4 gives 96" in findings[HEADS].reason


@pytest.mark.parametrize(("key", "value"), [("kv_lora_rank", 64), ("num_key_value_heads", [2, 4])])
def test_attention_of_another_geometry_is_not_judged(
    kit: Any, look: Any, tmp_path: Path, key: str, value: object
) -> None:
    model = kit.HfModel()
    model.config |= {"architectures": ["DeepseekV9ForCausalLM"], key: value, "head_dim": 12}
    findings = look(model.write(tmp_path))
    assert findings[HEADS].state is FindingState.SKIPPED
    assert key in findings[HEADS].reason


def test_extra_layers_for_further_tokens_are_allowed(kit: Any, look: Any, tmp_path: Path) -> None:
    model = kit.HfModel()
    model.config |= {
        "architectures": ["DeepseekV9ForCausalLM"],
        "num_hidden_layers": 1,
        "num_nextn_predict_layers": 1,
    }
    assert look(model.write(tmp_path))[LAYERS].state is FindingState.CORROBORATED


def test_an_embedding_with_spare_rows_is_fine(kit: Any, look: Any, tmp_path: Path) -> None:
    model = kit.HfModel()
    model.config["vocab_size"] = 264
    embedding = model.tensors["model.embed_tokens.weight"]
    model.tensors["model.embed_tokens.weight"] = np.concatenate([embedding, embedding[:2]])
    truth = model.write(tmp_path / "hf")
    assert kit.fallen(look(truth)) == set()

    gguf = kit.GgufModel()
    for number in (262, 263):
        _add_token(gguf, f"[PAD{number}]", 5)
    gguf.tensors["token_embd.weight"] = kit.stored(np.ones((264, 32)), "F16")
    for said in (264, None):
        if said is None:
            del gguf.metadata["llama.vocab_size"]
        else:
            gguf.metadata["llama.vocab_size"] = said
        assert kit.fallen(look(gguf.write(tmp_path / "gguf"), truth)) == set()


def test_fewer_tokens_than_rows_without_a_claim_is_fine(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    gguf = kit.GgufModel()
    del gguf.metadata["llama.vocab_size"]
    gguf.tensors["token_embd.weight"] = kit.stored(np.zeros((300, 32)), "F16")
    assert VOCAB not in kit.fallen(look(gguf.write(tmp_path)))


def test_without_a_ground_truth_the_metadata_are_not_judged(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.GgufModel().write(tmp_path / "gguf")
    for truth in (None, model):
        found = look(model, truth)[METADATA]
        assert found.state is FindingState.SKIPPED
        assert "no SafeTensors ground truth" in found.reason


def test_a_damaged_ground_truth_is_not_held_against_the_gguf_file(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.GgufModel().write(tmp_path / "gguf")
    truth = kit.HfModel(tokenizer=None).write(tmp_path / "hf")
    found = look(model, truth)[METADATA]
    assert found.state is FindingState.SKIPPED
    assert "the dimensions agree" in found.reason

    broken = kit.GgufModel()
    broken.metadata["llama.context_length"] = 9
    found = look(broken.write(tmp_path / "broken"), truth)[METADATA]
    assert found.state is FindingState.FALSIFIED

    (truth.directory / "config.json").unlink()
    found = look(model, truth)[METADATA]
    assert found.state is FindingState.SKIPPED
    assert "the ground truth cannot be read" in found.reason


def test_special_tokens_may_come_from_any_file_of_the_ground_truth(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.HfModel()
    del model.config["bos_token_id"]
    model.extra = {
        "generation_config.json": {"eos_token_id": [2, 0], "pad_token_id": 0},
        "tokenizer_config.json": {
            "bos_token": {"content": "<|im_start|>"},
            "unk_token": "<|endoftext|>",
            "eos_token": None,
        },
    }
    truth = model.write(tmp_path / "hf")
    gguf = kit.GgufModel()
    gguf.metadata |= {
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    assert kit.fallen(look(gguf.write(tmp_path / "good"), truth)) == set()
    gguf.metadata["tokenizer.ggml.padding_token_id"] = 2
    found = look(gguf.write(tmp_path / "bad"), truth)
    assert kit.fallen(found) == {METADATA}
    assert "the pad token is 2, and 0" in found[METADATA].reason


def test_a_missing_dimension_is_named(kit: Any, look: Any, tmp_path: Path) -> None:
    truth = kit.HfModel().write(tmp_path / "hf")
    gguf = kit.GgufModel()
    del gguf.metadata["llama.feed_forward_length"]
    found = look(gguf.write(tmp_path / "gguf"), truth)
    assert {CONFIG, METADATA} <= kit.fallen(found)
    assert "intermediate_dim is missing, and 64" in found[METADATA].reason


def test_shards_are_compared_with_their_index(kit: Any, look: Any, tmp_path: Path) -> None:
    model = kit.HfModel()
    names = list(model.tensors)
    parts = [{name: model.tensors[name] for name in half} for half in (names[:9], names[9:])]
    whole = model.write(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    paths = tuple(tmp_path / f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    for path, part in zip(paths, parts, strict=True):
        kit.write_safetensors(path, part)
    sharded = dataclasses.replace(whole, weights=paths)
    index = tmp_path / "model.safetensors.index.json"

    def write_index(entries: list[str]) -> None:
        index.write_text(kit.json.dumps({"weight_map": dict.fromkeys(entries, paths[0].name)}))

    assert kit.fallen(look(sharded)) == set()
    write_index(names)
    assert kit.fallen(look(sharded)) == set()
    write_index([*names, "lost.weight"])
    found = look(sharded)
    assert kit.fallen(found) == {TENSOR}
    assert "names lost.weight, which no shard holds" in found[TENSOR].reason
    write_index(names[1:])
    assert f"does not name {names[0]}" in look(sharded)[TENSOR].reason
    index.write_text("{}")
    assert "has no weight_map" in look(sharded)[TENSOR].reason
    kit.write_safetensors(paths[1], parts[0])
    assert kit.fallen(look(sharded)) == NEED_WEIGHTS


def test_an_index_is_compared_for_architectures_that_are_not_known(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.HfModel()
    model.config["architectures"] = ["Gemma9ForCausalLM"]
    whole = model.write(tmp_path)
    second = tmp_path / "second.safetensors"
    kit.write_safetensors(second, {"x.weight": np.ones(3, np.float16)})
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"y.weight": "second.safetensors"}}')
    sharded = dataclasses.replace(whole, weights=(*whole.weights, second))
    assert kit.fallen(look(sharded)) == {TENSOR}


def test_the_parts_of_a_split_gguf_file_are_read_together(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.GgufModel()
    names = list(model.tensors)
    first = kit.GgufModel(name="tiny-f16-00001-of-00002.gguf")
    second = kit.GgufModel(name="tiny-f16-00002-of-00002.gguf", metadata={"split.no": 1})
    first.tensors = {name: model.tensors[name] for name in names[:7]}
    second.tensors = {name: model.tensors[name] for name in names[7:]}
    first.metadata["split.tensors.count"] = len(names)
    files = first.write(tmp_path)
    split = dataclasses.replace(files, weights=(*files.weights, *second.write(tmp_path).weights))
    assert kit.fallen(look(split)) == set()

    first.metadata["split.tensors.count"] = 99
    first.write(tmp_path)
    found = look(split)
    assert kit.fallen(found) == {TENSOR}
    assert "split.tensors.count is 99" in found[TENSOR].reason

    second.tensors = first.tensors
    second.write(tmp_path)
    found = look(split)
    assert "is in another part as well" in found[TENSOR].reason


def test_a_file_of_an_unknown_kind_is_skipped_not_falsified(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.GgufModel().write(tmp_path)
    path = model.weights[0]
    data = bytearray(path.read_bytes())
    data[4:8] = (1).to_bytes(4, "little")
    path.write_bytes(bytes(data))
    findings = look(model)
    assert kit.fallen(findings) == set()
    assert findings[FINITE].state is FindingState.SKIPPED
    assert findings[DIGEST].state is FindingState.CORROBORATED


def test_of_an_apr_file_nothing_but_its_digest_is_read_here(look: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.apr"
    path.write_bytes(b"APR!")
    model = ModelFiles(
        format=ModelFormat.APR, weights=(path,), directory=tmp_path, source="local_path"
    )
    findings = look(model)
    assert findings.pop(DIGEST).state is FindingState.CORROBORATED
    # What its tool would say is not known without it.
    assert {each.state for each in findings.values()} == {FindingState.SKIPPED}


def test_control_characters_of_a_hostile_file_do_not_reach_a_terminal(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.HfModel()
    model.tensors["evil\x1b[2J\n" + "x" * 5000] = np.ones(2, np.float16)
    reason = look(model.write(tmp_path))[TENSOR].reason
    assert reason.isprintable()
    assert len(reason) <= 2000


def test_tensors_of_a_type_that_is_not_read_are_not_called_finite(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.GgufModel()
    model.tensors["blk.0.ffn_up.weight"] = kit.stored(np.zeros((64, 256)), "IQ1_M")
    found = look(model.write(tmp_path))[FINITE]
    assert found.state is FindingState.SKIPPED
    assert "blk.0.ffn_up.weight (IQ1_M)" in found.reason


def test_weights_that_cannot_be_read_are_the_machine_s_trouble(
    kit: Any, look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(contents, "count_non_finite", refuse)
    found = look(kit.HfModel().write(tmp_path))[FINITE]
    assert found.state is FindingState.SKIPPED
    assert "Input/output error" in found.reason


def test_an_embedding_of_its_own_width_is_not_compared(kit: Any, look: Any, tmp_path: Path) -> None:
    model = kit.HfModel()
    model.config |= {"architectures": ["OPTForCausalLM"], "word_embed_proj_dim": 16}
    model.tensors["model.embed_tokens.weight"] = np.ones((262, 16), np.float16)
    assert look(model.write(tmp_path / "a"))[HIDDEN].state is FindingState.CORROBORATED
    del model.config["word_embed_proj_dim"]
    assert look(model.write(tmp_path / "b"))[HIDDEN].state is FindingState.FALSIFIED


def test_the_scaling_of_frequencies_is_compared_both_ways(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.HfModel()
    model.config["rope_scaling"] = {"rope_type": "linear", "factor": 4.0}
    truth = model.write(tmp_path / "hf")
    gguf = kit.GgufModel()
    found = look(gguf.write(tmp_path / "a"), truth)[METADATA]
    assert "only the ground truth scales" in found.reason
    gguf.metadata |= {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0}
    found = look(gguf.write(tmp_path / "b"), truth)[METADATA]
    assert found.state is FindingState.CORROBORATED

    model.config["architectures"] = ["Gemma9ForCausalLM"]
    truth = model.write(tmp_path / "other")
    found = look(kit.GgufModel().write(tmp_path / "c"), truth)[METADATA]
    assert found.state is FindingState.CORROBORATED


def test_a_damaged_config_of_a_known_family_excuses_no_missing_tensor(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.HfModel()
    model.config["hidden_size"] = "wide"
    _rename(model, "model.layers.", "encoder.block.")
    assert kit.fallen(look(model.write(tmp_path))) == {CONFIG, LAYERS, HEADS, TENSOR}


def test_metadata_without_an_embedding_are_compared_by_the_rest(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    truth = kit.HfModel().write(tmp_path / "hf")
    gguf = kit.GgufModel()
    del gguf.metadata["llama.vocab_size"]
    del gguf.tensors["token_embd.weight"]
    found = look(gguf.write(tmp_path / "gguf"), truth)
    assert found[METADATA].state is FindingState.CORROBORATED
    assert kit.fallen(found) == {VOCAB, TENSOR}


def test_a_matrix_of_zeros_is_found_and_a_vector_is_let_be(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.HfModel()
    name = "model.layers.1.mlp.down_proj.weight"
    model.tensors[name] = np.zeros_like(model.tensors[name])
    found = look(model.write(tmp_path / "matrix"))[FINITE]
    assert found.state is FindingState.FALSIFIED
    assert "nothing but zeros" in found.reason
    assert name in found.reason
    model = kit.HfModel()
    norm = "model.layers.1.input_layernorm.weight"
    model.tensors[norm] = np.zeros_like(model.tensors[norm])
    assert look(model.write(tmp_path / "vector"))[FINITE].state is FindingState.CORROBORATED
