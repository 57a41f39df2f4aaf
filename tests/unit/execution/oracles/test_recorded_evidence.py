"""Judge the answers that another tool recorded and passed."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aprqa_ci.execution.oracles.interface import OracleVerdict, Question
from aprqa_ci.execution.oracles.registry import oracle_for
from aprqa_ci.execution.oracles.text import plain_text
from aprqa_ci.planning.oracle_choice import choose_oracle

DEFAULT = Path(__file__).resolve().parents[5] / "shared" / "corpus"


def _recorded() -> Iterator[tuple[str, str, str]]:
    """Yield (prompt, modality, output) of every corroborated answer to a prompt."""
    corpus = Path(os.environ.get("APRQA_CORPUS", DEFAULT)) / "certifications"
    if not corpus.is_dir():
        pytest.skip(f"no recorded evidence at {corpus}: set APRQA_CORPUS to the corpus directory")
    for path in sorted(corpus.glob("*/evidence.json")):
        for record in json.loads(path.read_text(encoding="utf-8")):
            asked = record["scenario"]
            if record["outcome"] == "Corroborated" and record["gate_id"].startswith("F-A"):
                yield asked["prompt"], asked["modality"], record["output"]


def test_what_was_passed_unchecked_is_falsified() -> None:
    answers = list(_recorded())
    empty = loops = right = 0
    for prompt, modality, output in answers:
        judged = oracle_for(choose_oracle(prompt)).judge(Question(prompt=prompt), output)
        text = plain_text(output).strip()
        if not text:
            empty += 1
            assert judged.kind == "empty"
        elif modality == "serve":
            # Only these outputs are the answer alone; the others have the tool's banner around it.
            if "RRRRRR" in text or "A2A2A2" in text or "\x7f\x7f" in text:
                loops += 1
                assert judged.kind == "garbage", judged.reason
            starts_right = text.startswith(("2+2 is 4.", "2+2 is equal to 4."))
            right += starts_right
            expected = OracleVerdict.CORROBORATED if starts_right else OracleVerdict.FALSIFIED
            assert judged.verdict is expected, judged.reason
    assert empty >= 30
    assert loops >= 4
    assert right >= 4
