import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aprqa_ci.execution.integrity.finding import FindingState

DTYPE = "G0-INTEGRITY-DTYPE"


def gguf(kit: Any, *, name: str, file_type: int | None, dtypes: dict[str, str], width: int) -> Any:
    """A GGUF model with one layer of four matrices of the given width and types."""
    model = kit.GgufModel(name=name, quantization=None)
    model.tensors = {
        f"blk.0.{part}.weight": kit.stored(np.zeros((size, width)), dtypes.get(part, "F16"))
        for part, size in (("attn_q", 4), ("ffn_up", 8), ("ffn_gate", 8), ("ffn_down", 8))
    }
    model.tensors["token_embd.weight"] = kit.stored(np.zeros((300, width)), "F32")
    model.tensors["blk.0.attn_norm.weight"] = kit.stored(np.zeros(width), "F32")
    if file_type is None:
        del model.metadata["general.file_type"]
    else:
        model.metadata["general.file_type"] = file_type
    return model


Q8 = dict.fromkeys(("attn_q", "ffn_up", "ffn_gate", "ffn_down"), "Q8_0")
Q6K = dict.fromkeys(Q8, "Q6_K")


@pytest.mark.parametrize(
    ("labels", "state"),
    [
        (("m.gguf", 1, {}), "corroborated"),
        (("m.gguf", 7, Q8), "corroborated"),
        (("m.gguf", 7 + 1024, Q8), "corroborated"),
        (("m.gguf", 0, {}), "falsified"),
        (("m.gguf", 32, {}), "falsified"),
        (("m.gguf", 32, dict.fromkeys(Q8, "BF16")), "corroborated"),
        # A label of one precision promises it everywhere; more is fine, less is not.
        (("m.gguf", 7, Q8 | {"attn_q": "F16"}), "corroborated"),
        (("m.gguf", 7, Q8 | {"attn_q": "Q4_0"}), "falsified"),
        (("m.gguf", 1, {"attn_q": "BF16"}), "falsified"),
        (("m.gguf", 1, {"attn_q": "F32"}), "corroborated"),
        # A mixture is judged by what most of it is.
        (("m.gguf", 18, Q6K), "corroborated"),
        (("m.gguf", 18, Q6K | {"attn_q": "Q4_0"}), "corroborated"),
        (("m.gguf", 18, Q8), "falsified"),
        (("m.gguf", 15, Q6K), "falsified"),
        # The name and the file type must both be right.
        (("m-q6_k.gguf", None, Q6K), "corroborated"),
        (("m-q6_k.gguf", 7, Q6K), "falsified"),
        (("m-q4_k_m.gguf", 18, Q6K), "falsified"),
        # No label, or none that is known.
        (("m.gguf", None, Q8), "skipped"),
        (("m.gguf", 777, Q8), "skipped"),
    ],
)
def test_the_labels_of_a_gguf_file_are_compared_with_its_layers(
    kit: Any, look: Any, tmp_path: Path, labels: tuple[str, int | None, dict[str, str]], state: str
) -> None:
    name, file_type, dtypes = labels
    model = gguf(kit, name=name, file_type=file_type, dtypes=dtypes, width=256)
    found = look(model.write(tmp_path))[DTYPE]
    assert found.state == state, found


@pytest.mark.parametrize(("width", "state"), [(96, "corroborated"), (256, "falsified")])
def test_rows_that_are_not_whole_blocks_may_fall_back(
    kit: Any, look: Any, tmp_path: Path, width: int, state: str
) -> None:
    # The quantize tool stores Q8_0 where a row of Q6_K cannot be.
    model = gguf(kit, name="m-Q6_K.gguf", file_type=18, dtypes=Q8, width=width)
    assert look(model.write(tmp_path))[DTYPE].state == state


@pytest.mark.parametrize(
    ("dtype", "state"),
    [
        ("float16", "corroborated"),
        ("torch.float16", "corroborated"),
        ("half", "corroborated"),
        ("float32", "falsified"),
        ("bfloat16", "falsified"),
        ("float12", "skipped"),
        (None, "skipped"),
        (7, "skipped"),
    ],
)
def test_the_label_of_a_config_is_compared(
    kit: Any, look: Any, tmp_path: Path, dtype: object, state: str
) -> None:
    model = kit.HfModel()
    del model.config["torch_dtype"]
    model.config["dtype"] = dtype
    assert look(model.write(tmp_path))[DTYPE].state == state


def test_a_router_may_be_wider_and_another_matrix_may_not_be_narrower(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = kit.HfModel()
    model.tensors["model.layers.0.mlp.gate.weight"] = np.ones((4, 32), np.int8)
    assert look(model.write(tmp_path / "router"))[DTYPE].state is FindingState.CORROBORATED
    model.tensors["model.layers.0.mlp.other.weight"] = np.ones((4, 32), np.int8)
    assert look(model.write(tmp_path / "other"))[DTYPE].state is FindingState.FALSIFIED


def test_quantized_safetensors_are_not_judged(kit: Any, look: Any, tmp_path: Path) -> None:
    model = kit.HfModel()
    model.config["quantization_config"] = {"quant_method": "gptq"}
    found = look(model.write(tmp_path))[DTYPE]
    assert found.state is FindingState.SKIPPED
    assert "quantized form" in found.reason


def test_without_a_matrix_there_is_nothing_to_compare(kit: Any, look: Any, tmp_path: Path) -> None:
    model = kit.HfModel(tensors={"model.norm.weight": np.ones(32, np.float16)})
    assert look(model.write(tmp_path))[DTYPE].state is FindingState.SKIPPED


def test_a_quantization_that_is_not_known_is_no_label(kit: Any, look: Any, tmp_path: Path) -> None:
    model = gguf(kit, name="m.gguf", file_type=None, dtypes=Q8, width=256)
    files = dataclasses.replace(model.write(tmp_path), quantization="q9_new")
    assert look(files)[DTYPE].state is FindingState.SKIPPED
