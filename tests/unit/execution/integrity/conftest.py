"""A tiny random Llama model that tests write to disk, whole or broken in one place."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from aprqa_ci.execution.integrity.finding import FindingState, GateFinding
from aprqa_ci.execution.integrity.inspection import inspect_model
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCABULARY = 2, 32, 4, 2, 8, 64, 262
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ["t h", "th e", "Ġ t"]

Array = npt.NDArray[Any]


def byte_symbols() -> list[str]:
    """The byte-level alphabet: printable Latin-1 as it is, the other bytes from U+0100 on."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    symbols = {byte: chr(byte) for byte in kept}
    symbols |= {byte: chr(256 + number) for number, byte in enumerate(others)}
    return [symbols[byte] for byte in range(256)]


TOKENS = [*SPECIAL, *byte_symbols(), "th", "the", "Ġt"]


def config_json() -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "intermediate_size": FFN,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
        "bos_token_id": 0,
        "eos_token_id": 2,
    }


def tokenizer_json() -> dict[str, Any]:
    return {
        "version": "1.0",
        "added_tokens": [
            {
                "id": number,
                "content": text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, text in enumerate(SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel"},
        "model": {
            "type": "BPE",
            "vocab": {text: number for number, text in enumerate(TOKENS)},
            "merges": list(MERGES),
        },
    }


def hf_tensors() -> dict[str, Array]:
    random = np.random.default_rng(7)

    def matrix(*shape: int) -> Array:
        return random.normal(0, 0.1, shape).astype(np.float16)

    tensors = {"model.embed_tokens.weight": matrix(VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        block = f"model.layers.{layer}."
        tensors |= {
            f"{block}input_layernorm.weight": np.ones(HIDDEN, np.float16),
            f"{block}self_attn.q_proj.weight": matrix(HEADS * HEAD_DIM, HIDDEN),
            f"{block}self_attn.k_proj.weight": matrix(KV_HEADS * HEAD_DIM, HIDDEN),
            f"{block}self_attn.v_proj.weight": matrix(KV_HEADS * HEAD_DIM, HIDDEN),
            f"{block}self_attn.o_proj.weight": matrix(HIDDEN, HEADS * HEAD_DIM),
            f"{block}post_attention_layernorm.weight": np.ones(HIDDEN, np.float16),
            f"{block}mlp.gate_proj.weight": matrix(FFN, HIDDEN),
            f"{block}mlp.up_proj.weight": matrix(FFN, HIDDEN),
            f"{block}mlp.down_proj.weight": matrix(HIDDEN, FFN),
        }
    tensors["model.norm.weight"] = np.ones(HIDDEN, np.float16)
    return tensors


_SAFETENSORS_TYPES = {"float16": "F16", "float32": "F32", "float64": "F64", "uint16": "BF16",
                      "uint8": "U8", "int8": "F8_E4M3"}  # fmt: skip


def write_safetensors(path: Path, tensors: dict[str, Array]) -> None:
    header: dict[str, Any] = {}
    data = b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": _SAFETENSORS_TYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@dataclass
class HfModel:
    """A SafeTensors model directory, to be changed before it is written."""

    config: dict[str, Any] | None = field(default_factory=config_json)
    tokenizer: dict[str, Any] | None = field(default_factory=tokenizer_json)
    tensors: dict[str, Array] = field(default_factory=hf_tensors)
    extra: dict[str, Any] = field(default_factory=dict)
    """Further JSON files."""

    def write(self, directory: Path) -> ModelFiles:
        directory.mkdir(parents=True, exist_ok=True)
        files = {"config.json": self.config, "tokenizer.json": self.tokenizer, **self.extra}
        for name, content in files.items():
            if content is not None:
                (directory / name).write_text(json.dumps(content), encoding="utf-8")
        weights = directory / "model.safetensors"
        write_safetensors(weights, self.tensors)
        return ModelFiles(
            format=ModelFormat.SAFETENSORS,
            weights=(weights,),
            directory=directory,
            source="local_path",
        )


GGML = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8, "Q6_K": 14, "IQ1_M": 29, "BF16": 30}
_BLOCKS = {"Q4_0": (32, 18), "Q8_0": (32, 34), "Q6_K": (256, 210), "IQ1_M": (256, 56)}


@dataclass
class GgufTensor:
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def stored(array: Array, dtype: str) -> GgufTensor:
    """Store an array; of the quantized types only blocks with scale 1 and no weight."""
    if dtype in _BLOCKS:
        elements, size = _BLOCKS[dtype]
        scale = np.float16(1).tobytes()
        at = size - 2 if dtype == "Q6_K" else 0
        block = bytes(at) + scale + bytes(size - 2 - at)
        data = block * (array.size // elements)
    elif dtype == "BF16":
        data = (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    else:
        data = array.astype("<f2" if dtype == "F16" else "<f4").tobytes()
    return GgufTensor(dtype, array.shape, data)


_GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
}


def gguf_tensors(dtype: str = "F16") -> dict[str, GgufTensor]:
    tensors = {}
    for hf_name, array in hf_tensors().items():
        name = hf_name.replace("model.layers.", "blk.")
        stem = next(stem for stem in _GGUF_NAMES if f"{stem}." in name)
        name = name.replace(stem, _GGUF_NAMES[stem])
        tensors[name] = stored(array, "F32" if array.ndim == 1 else dtype)
    return tensors


def gguf_metadata(file_type: int = 1) -> dict[str, Any]:
    return {
        "general.architecture": "llama",
        "general.file_type": file_type,
        "llama.block_count": LAYERS,
        "llama.context_length": 128,
        "llama.embedding_length": HIDDEN,
        "llama.feed_forward_length": FFN,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10000.0,
        "llama.vocab_size": VOCABULARY,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": list(TOKENS),
        "tokenizer.ggml.token_type": [3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)),
        "tokenizer.ggml.merges": list(MERGES),
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 2,
    }


def _text(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> tuple[int, bytes]:
    if isinstance(value, bool):
        return 7, struct.pack("<?", value)
    if isinstance(value, int):
        return (4, struct.pack("<I", value)) if value >= 0 else (5, struct.pack("<i", value))
    if isinstance(value, float):
        return 6, struct.pack("<f", value)
    if isinstance(value, str):
        return 8, _text(value)
    kinds = [_value(entry) for entry in value]
    kind = kinds[0][0] if kinds else 4
    return 9, struct.pack("<IQ", kind, len(kinds)) + b"".join(raw for _, raw in kinds)


def write_gguf(path: Path, metadata: dict[str, Any], tensors: dict[str, GgufTensor]) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        kind, raw = _value(value)
        head += _text(key) + struct.pack("<I", kind) + raw
    data = b""
    for name, tensor in tensors.items():
        head += _text(name) + struct.pack("<I", len(tensor.shape))
        head += b"".join(struct.pack("<Q", size) for size in reversed(tensor.shape))
        head += struct.pack("<IQ", GGML[tensor.dtype], len(data))
        data += tensor.data + bytes(-len(tensor.data) % 32)
    path.write_bytes(head + bytes(-len(head) % 32) + data)


@dataclass
class GgufModel:
    """A GGUF file, to be changed before it is written."""

    metadata: dict[str, Any] = field(default_factory=gguf_metadata)
    tensors: dict[str, GgufTensor] = field(default_factory=gguf_tensors)
    name: str = "tiny-f16.gguf"
    quantization: str | None = "f16"

    def write(self, directory: Path) -> ModelFiles:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / self.name
        write_gguf(path, self.metadata, self.tensors)
        return ModelFiles(
            format=ModelFormat.GGUF,
            quantization=self.quantization,
            weights=(path,),
            directory=directory,
            source="local_path",
        )


Look = Callable[..., dict[str, GateFinding]]


@pytest.fixture
def look() -> Look:
    """Inspect a model and return the findings by gate."""

    def inspect(
        model: ModelFiles,
        ground_truth: ModelFiles | None = None,
        expected: dict[str, int] | None = None,
    ) -> dict[str, GateFinding]:
        seen = inspect_model(model, ground_truth=ground_truth, expected=expected or {})
        return {finding.gate_id: finding for finding in seen.findings}

    return inspect


def fallen(findings: dict[str, GateFinding]) -> set[str]:
    """Return the gates that are falsified."""
    return {gate for gate, found in findings.items() if found.state is FindingState.FALSIFIED}


@pytest.fixture
def kit() -> Any:
    """Everything above, for tests that cannot import from here."""
    import sys

    return sys.modules[__name__]
