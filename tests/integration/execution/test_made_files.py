"""Cells whose files nobody has: made of the SafeTensors, and judged as any other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from aprqa_ci.execution.protocol import CompareWeights, Derive, Open, Request
from aprqa_ci.files import sha256_file
from aprqa_ci.planning.identifiers import sources_in
from aprqa_ci.planning.plan import GroundTruth
from aprqa_ci.vocabulary import Modality, ModelFormat, Outcome
from tests.cells import cell_of, plan_of, playbook_of, prompt_of
from tests.running import Results, run

AGREES, ROUND_TRIP = "F-COMP-AGREE-001", "F-REGR-ROUNDTRIP-001"
NAME = "tiny-mvp"


@pytest.fixture
def bare(model: Any) -> Any:
    """A model of which only the SafeTensors are there."""
    model.gguf.unlink()
    return model


def everything(quantization: str = "q8_0", modality: Modality = Modality.RUN) -> Any:
    return cell_of(
        modality=modality,
        quantization=quantization,
        prompts=[prompt_of("the end")],
        checks=[AGREES, ROUND_TRIP],
        inspect=True,
    )


def derivations(sent: list[Request]) -> list[Derive]:
    return [each for each in sent if isinstance(each, Derive)]


def cached(root: Path) -> list[Path]:
    return sorted((root / ".cache" / "aprqa" / "derived").glob("*/*/model.gguf"))


@pytest.mark.parametrize("quantization", ["q8_0", "q4_0"])
def test_what_nobody_has_is_made_once_and_tested_as_any_other(
    bare: Any, before_request: Callable[..., list[Request]], quantization: str
) -> None:
    sent = before_request(lambda *_: None)
    digests: dict[str, dict[str, str]] = {}
    cells = [everything(quantization, modality) for modality in (Modality.RUN, Modality.CHAT)]
    # Questions that it was trained on: to others, half the bits answer otherwise.
    known = playbook_of(probe_prompts=(prompt_of("What is 2 + 3?"), prompt_of("What is 4 + 4?")))
    results = run(
        plan_of(*cells, playbook=known),
        bare.root,
        workers=2,
        digests=lambda _, variant, found: digests.update({variant: dict(found)}),
    )
    assert set(results.outcomes().values()) == {"Corroborated"}
    (request,) = derivations(sent)
    assert request.quantization == quantization
    (made,) = cached(bare.root)
    variant = f"gguf-{quantization}"
    assert digests[variant] == {"model.gguf": sha256_file(made)}
    told = digests[f"derived {variant} of safetensors"]
    assert told["model.gguf"] == sha256_file(made)
    assert sources_in(told)["model.safetensors"] == sha256_file(bare.safetensors)
    for result in results.in_order:
        assert result.source is not None
        assert result.source.derived is not None
        assert result.source.derived.format is ModelFormat.SAFETENSORS
        assert result.source.derived.tool.startswith("aprqa-ci/")
    # Nothing was written beside the model.
    assert not list(bare.directory.glob("*.gguf"))


def quick(root: Path, quantization: str = "q8_0", **changes: Any) -> Results:
    cell = cell_of(quantization=quantization, prompts=[prompt_of("the end")], inspect=True)
    return run(plan_of(cell, playbook=playbook_of(**changes)), root)


def test_a_second_run_takes_what_the_first_one_made(bare: Any) -> None:
    assert set(quick(bare.root).outcomes().values()) == {"Corroborated"}
    (made,) = cached(bare.root)
    before = made.stat().st_mtime_ns
    assert set(quick(bare.root).outcomes().values()) == {"Corroborated"}
    assert cached(bare.root) == [made]
    assert made.stat().st_mtime_ns == before


def test_a_file_that_was_tampered_with_is_made_anew(bare: Any) -> None:
    quick(bare.root)
    (made,) = cached(bare.root)
    sound = made.read_bytes()
    broken = bytearray(sound)
    broken[-1] ^= 0xFF
    made.write_bytes(broken)
    assert set(quick(bare.root).outcomes().values()) == {"Corroborated"}
    assert made.read_bytes() == sound


def test_another_source_is_another_file(bare: Any) -> None:
    quick(bare.root)
    config = bare.directory / "tokenizer_config.json"
    config.write_text(config.read_text() + "\n")
    quick(bare.root)
    assert len(cached(bare.root)) == 2


@pytest.mark.parametrize(
    ("quantization", "said"), [("q4_k_m", "in q4_k_m (known: f32, f16"), ("q6_k", "in q6_k")]
)
def test_what_cannot_be_made_is_skipped_with_the_reason(
    bare: Any, quantization: str, said: str
) -> None:
    results = quick(bare.root, quantization)
    assert set(results.outcomes().values()) == {"Skipped infrastructure:model-not-found"} | {
        outcome for outcome in results.outcomes().values() if "not-tried" in outcome
    }
    reason = results.of("001").reason
    assert "is not on this machine; looked at" in reason
    assert f"it cannot be made here {said}" in reason
    assert cached(bare.root) == []


def test_an_architecture_that_is_not_known_is_named(bare: Any) -> None:
    path = bare.directory / "config.json"
    config = json.loads(path.read_text()) | {"architectures": ["GemmaForCausalLM"]}
    path.write_text(json.dumps(config))
    result = quick(bare.root).of("001")
    assert (result.outcome, str(result.cause)) == (
        Outcome.SKIPPED,
        "infrastructure:model-not-found",
    )
    assert "it cannot be made here of the SafeTensors" in result.reason
    assert "GemmaForCausalLM" in result.reason


def test_damaged_safetensors_make_nothing_and_falsify_nothing_of_the_gguf(bare: Any) -> None:
    bare.safetensors.write_bytes(bare.safetensors.read_bytes()[:-100])
    result = quick(bare.root).of("001")
    assert result.outcome is Outcome.SKIPPED
    assert "making gguf q8_0 of" in result.reason
    assert cached(bare.root) == []


def test_a_published_file_wins(model: Any, before_request: Callable[..., list[Request]]) -> None:
    sent = before_request(lambda *_: None)
    assert set(quick(model.root, "f16").outcomes().values()) == {"Corroborated"}
    assert derivations(sent) == []
    assert cached(model.root) == []


def test_a_faulty_published_file_is_not_replaced(model: Any) -> None:
    shutil.copyfile(model.gguf, model.directory / "other-f16.gguf")
    result = quick(model.root, "f16").of("001")
    assert str(result.cause) == "infrastructure:model-not-found"
    assert "cannot be used as it lies" in result.reason
    assert cached(model.root) == []


def test_a_damaged_published_file_is_falsified(model: Any) -> None:
    model.gguf.write_bytes(model.gguf.read_bytes()[:-1000])
    results = quick(model.root, "f16")
    assert results.of("G1-LOAD").outcome is Outcome.FALSIFIED
    assert cached(model.root) == []


@pytest.mark.parametrize("truth", [None, GroundTruth(format=ModelFormat.GGUF, quantization="f16")])
def test_a_made_file_is_never_compared_with_itself(
    bare: Any, before_request: Callable[..., list[Request]], truth: GroundTruth | None
) -> None:
    """Without SafeTensors among the formats the truth would be a file that was made here."""
    sent = before_request(lambda *_: None)
    cell = everything("f16") if truth else cell_of(quantization="f16", checks=[ROUND_TRIP])
    model = replace(playbook_of().model, formats=(ModelFormat.GGUF,))
    playbook = playbook_of(ground_truth=truth, model=model)
    results = run(plan_of(cell, playbook=playbook), bare.root)
    assert results.of(ROUND_TRIP).outcome is Outcome.CORROBORATED
    assert not any(each.outcome is Outcome.FALSIFIED for each in results.in_order)
    (compared,) = [each for each in sent if isinstance(each, CompareWeights)]
    assert compared.ground_truth is not None
    assert compared.ground_truth.weights == (bare.safetensors,)
    assert {each.model.format for each in sent if isinstance(each, Open)} == (
        {ModelFormat.GGUF, ModelFormat.SAFETENSORS} if truth else {ModelFormat.GGUF}
    )


def test_a_wrong_conversion_is_found_out(
    bare: Any,
) -> None:
    """Whoever can write to the cache can also write its record; then the gates must see it."""
    quick(bare.root, "f16")
    (made,) = cached(bare.root)
    other = shutil.copytree(bare.directory, bare.root / "other")
    data = bytearray((other / "model.safetensors").read_bytes())
    header = int.from_bytes(data[:8], "little") + 8
    data[header:] = bytes(len(data) - header)
    (other / "model.safetensors").write_bytes(data)
    convert_safetensors_to_gguf(other, made, "f16")
    record = made.parent / "derived.json"
    told = json.loads(record.read_text())
    told["files"]["model.gguf"] = sha256_file(made)
    record.write_text(json.dumps(told))
    playbook = playbook_of(ground_truth=GroundTruth(format=ModelFormat.GGUF, quantization="f16"))
    cell = cell_of(quantization="f16", checks=[AGREES, ROUND_TRIP], inspect=True)
    results = run(plan_of(cell, playbook=playbook), bare.root)
    assert results.of(ROUND_TRIP).outcome is Outcome.FALSIFIED
    assert results.of(AGREES).outcome is Outcome.FALSIFIED
