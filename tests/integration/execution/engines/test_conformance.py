"""The conformance suite over the engines that are here, and over engines with one fault each."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aprqa_ci.data_files import bundled_model
from aprqa_ci.execution import child
from aprqa_ci.execution.engines.conformance import (
    CheckState,
    ConformanceReport,
    check_engine,
    traces,
)
from aprqa_ci.execution.engines.conformance.questions import questions
from aprqa_ci.execution.engines.conformance.suite import CHECK_FUNCTIONS
from aprqa_ci.execution.engines.conformance.trial import CheckFailedError, NotTriedError, Trial
from aprqa_ci.execution.engines.interface import Capability, EngineAbsentError
from aprqa_ci.execution.engines.openai_server import serve_session
from aprqa_ci.execution.engines.registry import describe, engine_catalogue, engine_named
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat
from tests.broken_engines import BROKEN, install_engines
from tests.llama_server import COMMAND, SAMPLING
from tests.tiny_llama import write_tiny_llama

GGUF = ModelFiles(
    format=ModelFormat.GGUF,
    quantization="q8_0",
    weights=(bundled_model() / "aprqa-tiny-q8_0.gguf",),
    directory=bundled_model(),
    source="local_path",
)
SAFETENSORS = ModelFiles(
    format=ModelFormat.SAFETENSORS,
    weights=(bundled_model() / "model.safetensors",),
    directory=bundled_model(),
    source="local_path",
)
FILES = {ModelFormat.GGUF: GGUF, ModelFormat.SAFETENSORS: SAFETENSORS}
# What the reference engine cannot be held against: itself.
ALONE = {"reference": {"agrees-with-reference"}}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_engines(tmp_path_factory.mktemp("site"))


@pytest.fixture
def environment(installed: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.syspath_prepend(str(installed))
    return {**os.environ, "PYTHONPATH": str(installed)}


def checked(name: str, environment: dict[str, str], model: ModelFiles = GGUF) -> ConformanceReport:
    return check_engine(
        name, model, Backend.CPU, options={}, environment=environment, truth_files=model
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in engine_catalogue().built_in
        for kind in describe(engine_named(name)).formats
        if kind in FILES and describe(engine_named(name)).available
    ],
)
def test_every_engine_that_is_here_keeps_what_it_promises(name: str, kind: ModelFormat) -> None:
    report = checked(name, dict(os.environ), FILES[kind])
    states = {result.check: (result.state, result.reason) for result in report.results}
    bad = {check: state for check, state in states.items() if state[0] is not CheckState.PASSED}
    assert set(bad) <= ALONE.get(name, set()), bad
    assert report.conforms
    assert report.device.startswith("cpu: ")
    assert report.invocation


@pytest.fixture
def served_elsewhere() -> Iterator[str]:
    session = engine_named("llamacpp").open(GGUF, Backend.CPU)
    with serve_session(session) as served:
        yield served.base_url
    session.close()


def test_a_server_elsewhere_keeps_what_can_be_promised_of_it(served_elsewhere: str) -> None:
    """The server is our own around llama.cpp: it says neither its files nor its context."""
    report = check_engine(
        "openai",
        GGUF,
        Backend.CPU,
        options={"url": served_elsewhere, "context_length": 512},
        environment=dict(os.environ),
        truth_files=GGUF,
    )
    left_out = {result.check for result in report.of(CheckState.NOT_APPLICABLE)}
    assert left_out == {"device-proof", "bad-files"}
    assert report.conforms, report.of(CheckState.FAILED)


def test_llama_cpps_own_server_keeps_what_it_promises_when_it_is_started() -> None:
    report = check_engine(
        "openai",
        GGUF,
        Backend.CPU,
        options={"command": COMMAND, "sampling": SAMPLING},
        environment=dict(os.environ),
        truth_files=GGUF,
    )
    assert report.conforms, report.of(CheckState.FAILED)
    assert len(report.of(CheckState.PASSED)) == len(questions().checks)


def test_the_sound_engine_is_sound(environment: dict[str, str]) -> None:
    """The faults below are those of the broken engines, and not of what they have in common."""
    report = checked("sound", environment)
    assert report.conforms, report.of(CheckState.FAILED)
    assert [result.check for result in report.results] == [each.id for each in questions().checks]
    assert len(report.of(CheckState.PASSED)) == len(questions().checks)


@pytest.fixture
def trial(
    environment: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Trial]:
    name = str(request.param)
    found = Trial(
        engine=name,
        info=engine_named(name).info(),
        options={},
        model=GGUF,
        truth_files=GGUF,
        backend=Backend.CPU,
        environment=environment,
        threads=1,
        scratch=tmp_path,
        answer_seconds=1.5 if name.startswith("hangs") else None,
    )
    yield found
    found.end()


@pytest.mark.parametrize(
    ("trial", "check"),
    [(name, check) for name, (_, check) in BROKEN.items()],
    indirect=["trial"],
    ids=list(BROKEN),
)
def test_a_fault_is_found_by_its_check(
    trial: Trial, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is broken here stays so, however long it is waited for.
    monkeypatch.setattr(child, "_CLOSE_SECONDS", 0.5)
    monkeypatch.setattr(traces, "_GONE_WITHIN_S", 0.2)
    with pytest.raises(CheckFailedError) as caught:
        CHECK_FUNCTIONS[check](trial)
    assert str(caught.value)


def test_every_check_has_an_engine_that_fails_it() -> None:
    planned = {each.id for each in questions().checks}
    assert planned == CHECK_FUNCTIONS.keys()
    assert {check for _, check in BROKEN.values()} == planned


def test_what_does_not_load_is_tried_no_further(
    environment: dict[str, str], tmp_path: Path
) -> None:
    cut = tmp_path / "cut-q8_0.gguf"
    cut.write_bytes(GGUF.weights[0].read_bytes()[:5000])
    report = checked("sound", environment, replace(GGUF, weights=(cut,), directory=tmp_path))
    assert report.conforms is False
    states = {result.check: result.state for result in report.results}
    assert states.pop("describes-itself") is CheckState.PASSED
    assert states.pop("loads") is CheckState.FAILED
    assert set(states.values()) == {CheckState.NOT_TRIED}
    assert report.device == report.invocation == ""


def test_what_is_not_promised_is_neither_tried_nor_passed(environment: dict[str, str]) -> None:
    report = checked("promises-nothing", environment)
    states = {result.check: result.state for result in report.results}
    needing = {each.id for each in questions().checks if each.needs}
    assert {states[check] for check in needing} == {CheckState.NOT_APPLICABLE}
    assert report.conforms is False


def test_an_engine_that_is_not_there_cannot_be_checked() -> None:
    with pytest.raises(EngineAbsentError, match="there is no engine 'lamacpp'"):
        checked("lamacpp", dict(os.environ))


@pytest.mark.parametrize("trial", ["sound"], indirect=True)
def test_without_a_truth_nothing_is_compared(trial: Trial, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    trial.model = replace(GGUF, directory=other)
    trial.truth_files = None
    for check in ("agrees-with-reference", "counts-tokens", "chat-template", "continues-raw-text"):
        with pytest.raises(NotTriedError, match="the reference engine cannot read gguf"):
            CHECK_FUNCTIONS[check](trial)


@pytest.mark.parametrize("trial", ["sound", "miscounts-prompts"], indirect=True)
def test_other_models_are_held_against_the_reference_engine(trial: Trial, tmp_path: Path) -> None:
    tiny_llama = write_tiny_llama(
        tmp_path / "tiny", config={"max_position_embeddings": 512}, storage="F32"
    )
    model = ModelFiles(
        format=ModelFormat.SAFETENSORS,
        weights=(tiny_llama / "model.safetensors",),
        directory=tiny_llama,
        source="local_path",
    )
    trial.model = trial.truth_files = model
    assert "alike by 1.00" in CHECK_FUNCTIONS["agrees-with-reference"](trial)
    if trial.engine == "sound":
        assert CHECK_FUNCTIONS["counts-tokens"](trial)
    else:
        with pytest.raises(CheckFailedError, match="tokens of prompt"):
            CHECK_FUNCTIONS["counts-tokens"](trial)


def test_the_known_token_counts_are_those_of_the_tokenizers_library() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(bundled_model() / "tokenizer.json"))
    for question in questions().questions:
        counted = len(tokenizer.encode(question.text, add_special_tokens=False).ids)
        assert counted == question.completion_tokens, question.id
        if question.raw:
            assert len(tokenizer.encode(question.turns[0]).ids) == question.prompt_tokens


def test_every_capability_is_held_to_by_a_check() -> None:
    held = {need for each in questions().checks for need in each.needs}
    assert held == set(Capability)
