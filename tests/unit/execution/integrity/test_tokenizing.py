import unicodedata
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.formats.tokenizer import Tokenizer
from aprqa_ci.execution.integrity.finding import FindingState
from aprqa_ci.execution.integrity.tokenizing import TEXTS

TOKENIZER = "G0-TOKENIZER-001"


def test_the_texts_need_no_normalisation_and_cover_the_kinds() -> None:
    assert all(unicodedata.is_normalized("NFC", text) for text in TEXTS.values())
    assert any(text.isascii() for text in TEXTS.values())
    directions = {unicodedata.bidirectional(char) for text in TEXTS.values() for char in text}
    assert {"R", "AL"} <= directions
    assert any(ord(char) > 0xFFFF for char in TEXTS["emoji"])


def test_a_tokenizer_of_another_kind_is_not_judged(kit: Any, look: Any, tmp_path: Path) -> None:
    gguf = kit.GgufModel()
    gguf.metadata["tokenizer.ggml.model"] = "llama"
    found = look(gguf.write(tmp_path / "gguf"))[TOKENIZER]
    assert found.state is FindingState.SKIPPED
    assert "of a kind that is not read here" in found.reason

    model = kit.HfModel(tokenizer=None).write(tmp_path / "hf")
    (model.directory / "tokenizer.model").write_bytes(b"x")
    assert look(model)[TOKENIZER].state is FindingState.SKIPPED
    assert "was not compared" in look(model)["G0-INTEGRITY-VOCAB"].reason


def test_an_empty_encoding_is_falsified(
    kit: Any, look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tokenizer, "encode", lambda *_, **__: [])
    found = look(kit.HfModel().write(tmp_path))[TOKENIZER]
    assert found.state is FindingState.FALSIFIED
    assert "becomes no token at all" in found.reason
