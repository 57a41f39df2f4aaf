"""The reference engine against llama.cpp, token by token, on random models."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aprqa_ci.execution.engines.reference.loading import LoadedModel, load_model
from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat
from tests.tiny_llama import write_tiny_llama

xllamacpp = pytest.importorskip("xllamacpp")

PROMPTS = ("<|im_start|>user\nthe 12 and é<|im_end|>\n", "Hello", "x = [1, 2, 3]")
TOKENS = 24
NEAR_TIE = 0.01
"""Logits nearer than this may change places by rounding; llama.cpp multiplies F16 in float16."""

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"tied": False},
    {"config": {"attention_bias": True}},
    {"config": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}},
    {"config": {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}},
    {"config": {"rope_scaling": LLAMA3}},
    {"config": {"head_dim": 32, "num_key_value_heads": 1}},
]


def _llamacpp_answers(path: Path) -> list[str]:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx = 128
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.warmup = parameters.fit_params = False
    parameters.verbosity = -1
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(parameters)
    request = {"max_tokens": TOKENS, "temperature": 0, "cache_prompt": False}
    return [
        server.handle_completions({"prompt": prompt, **request})["choices"][0]["text"]
        for prompt in PROMPTS
    ]


def _agreed(model: LoadedModel, prompt: str, answer: str) -> int:
    """Return how many tokens agree before the first near tie, or the end of the answer."""
    model.network.reset()
    logits = model.network.forward(model.tokenizer.encode(prompt))
    text = ""
    for count in range(TOKENS):
        second, first = np.sort(logits)[-2:]
        if first - second < NEAR_TIE:
            return count
        token = int(logits.argmax())
        text += model.tokenizer.decode([token])
        assert answer.startswith(text), (answer, text)
        logits = model.network.forward([token])
    return TOKENS


def _loaded(format_: ModelFormat, path: Path, directory: Path) -> LoadedModel:
    return load_model(
        ModelFiles(format=format_, weights=(path,), directory=directory, source="local_path")
    )


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("quantization", ["f32", "f16"])
def test_every_token_is_the_same_in_every_format_and_engine(
    tmp_path: Path, options: dict[str, Any], quantization: str
) -> None:
    source = write_tiny_llama(tmp_path / "source", seed=3, **options)
    path = tmp_path / "m.gguf"
    convert_safetensors_to_gguf(source, path, quantization)
    gguf = _loaded(ModelFormat.GGUF, path, tmp_path)
    hf = _loaded(ModelFormat.SAFETENSORS, source / "model.safetensors", source)
    answers = _llamacpp_answers(path)
    assert len(set(answers)) == len(PROMPTS)
    compared = 0
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        # The source is F16, so its weights are the same in all three.
        assert _agreed(hf, prompt, answer) == _agreed(gguf, prompt, answer)
        compared += _agreed(gguf, prompt, answer)
    assert compared >= TOKENS
