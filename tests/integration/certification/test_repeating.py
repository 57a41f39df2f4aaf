"""Earlier evidence that stands, and failures that are run again: real runs of the bundled model."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from aprqa_ci import __version__
from aprqa_ci.certification.bundle import Bundle, read_bundle
from aprqa_ci.certification.repeating import Repeated, certify_failed
from aprqa_ci.certification.standing import (
    Earlier,
    _AnsweringEngine,
    differences,
    standing_records,
    stood,
)
from aprqa_ci.certification.steps import Surroundings, certify_plan, make_plan
from aprqa_ci.data_files import data_directory
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey, PassedOverEngine
from aprqa_ci.execution.engines import registry
from aprqa_ci.execution.engines.engine_options import options_digest
from aprqa_ci.execution.engines.interface import OptionValue
from aprqa_ci.execution.engines.registry import engine_catalogue
from aprqa_ci.execution.machine import RunEnvironment
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.scoring.runs import attempt_of, newest_run
from aprqa_ci.vocabulary import ModelFormat, Outcome, Status
from aprqa_ci.wire import canonical_json

if TYPE_CHECKING:
    from tests.integration.certification.conftest import Project

_BEYOND_IT = "What is 123456 * 98765?"
Certify = Callable[..., Bundle]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the bundled model, which may be changed."""
    source = Path(str(data_directory())) / "models" / "aprqa-tiny"
    return Path(shutil.copytree(source, tmp_path / "model"))


@pytest.fixture
def certify(project: "Project", world: Surroundings, model: Path) -> Certify:
    def run(
        tier: str = "quick",
        *,
        previous: Bundle | None = None,
        append: bool = False,
        what: dict[str, object] | None = None,
        **changes: object,
    ) -> Bundle:
        folder = project("tiny", model={"local_path": str(model)} | (what or {}), **changes)
        plan = make_plan([folder], options=PlanOptions(tier=tier), surroundings=world)
        earlier = {} if previous is None else {"tiny": Earlier.of(previous)}
        (bundle,) = certify_plan(
            plan, out=world.root / "out", surroundings=world, previous=earlier, append=append
        )
        return bundle

    return run


def _again(world: Surroundings) -> Repeated:
    plan = make_plan(
        [world.root / "playbooks"], options=PlanOptions(tier="quick"), surroundings=world
    )
    (repeated,) = certify_failed(plan, out=world.root / "out", surroundings=world)
    return repeated


def test_what_a_tier_has_shown_stands_for_the_next(certify: Certify, world: Surroundings) -> None:
    first = certify("quick")
    assert first.certificate.status is Status.PROVISIONAL
    second = certify("smoke", previous=first, append=True)
    run = newest_run(second.records)
    carried = [record for record in run if stood(record)]
    assert 5 <= len(carried) < len(run)
    assert second.score.verdict == "good"
    before = {f"{record.meta(MetadataKey.RUN_ID)}/{record.id}": record for record in first.records}
    for record in carried:
        # The measured record is in the same file, and says the same.
        origin = before[record.meta(MetadataKey.STANDS_FROM) or ""]
        assert origin in second.records
        assert (record.output, record.timestamp, record.gate_id, record.scenario.prompt) == (
            origin.output,
            origin.timestamp,
            origin.gate_id,
            origin.scenario.prompt,
        )
        assert record.outcome is Outcome.CORROBORATED
        assert record.id != origin.id
    read_bundle(world.root / "out" / "tiny")


def test_nothing_concluded_stands(certify: Certify) -> None:
    first = certify()
    again = certify(previous=first, append=True)
    fresh = {record.gate_id for record in newest_run(again.records) if not stood(record)}
    assert fresh == {"G2-BASIC", "G3-STABLE", "G4-GARBAGE"}
    assert again.score.mqs == first.score.mqs


def test_a_record_that_stands_twice_names_the_one_that_was_measured(certify: Certify) -> None:
    first = certify()
    second = certify(previous=first, append=True)
    third = certify(previous=second, append=True)
    measured = {record.id for record in first.records}
    origins = {
        (record.meta(MetadataKey.STANDS_FROM) or "").rpartition("/")[2]
        for record in newest_run(third.records)
        if stood(record)
    }
    assert origins
    assert origins <= measured


def test_nothing_stands_when_files_tool_or_machine_are_others(
    certify: Certify, world: Surroundings, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = Earlier.of(certify("smoke"))
    environment = world.measuring_environment(earlier.plan, world.host())
    whole = standing_records(earlier, earlier.plan, environment)
    assert len(whole) > 10
    # Measurements are of a kind of machine, answers are not.
    elsewhere = standing_records(earlier, earlier.plan, replace(environment, machine="another"))
    gates = {record.gate_id for name, record in whole.items() if name not in elsewhere}
    assert "F-PERF-TPS-001" in gates
    assert not any(gate.startswith("F-A") for gate in gates)
    engines = "aprqa_ci.certification.standing._engine_here"
    with monkeypatch.context() as patch:
        another = _AnsweringEngine(name="reference", version="0.0.1")
        patch.setattr(engines, lambda *_: another)
        kinds = {
            record.meta(MetadataKey.ENGINE)
            for record in standing_records(earlier, earlier.plan, environment).values()
        }
        assert kinds == {None}
        assert any(
            "the engine was" in each for each in differences(earlier, earlier.plan, environment)
        )
    with monkeypatch.context() as patch:
        patch.setattr("aprqa_ci.certification.standing.__version__", "9.9.9")
        assert standing_records(earlier, earlier.plan, environment) == {}
    assert differences(earlier, earlier.plan, environment) == []
    config = model / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert standing_records(earlier, earlier.plan, environment) == {}
    assert differences(earlier, earlier.plan, environment) == [
        "the safetensors files have changed, or are not here"
    ]


def _on_a_server(monkeypatch: pytest.MonkeyPatch, earlier: Earlier, **told: OptionValue) -> Earlier:
    """The same run, as if a server that is told this had been asked."""
    monkeypatch.setattr(
        registry,
        "engine_catalogue",
        lambda: msgspec.structs.replace(
            engine_catalogue(), preferred={ModelFormat.SAFETENSORS: ("openai",)}
        ),
    )
    records = tuple(
        msgspec.structs.replace(
            record,
            metadata=record.metadata
            | {
                "engine": "openai",
                "engine_version": f"client {__version__}",
                "engine_options": options_digest(told),
            },
        )
        if record.meta(MetadataKey.ENGINE)
        else record
        for record in earlier.records
    )
    return replace(earlier, records=records)


def _answers(standing: dict[str, EvidenceRecord]) -> int:
    return sum(record.meta(MetadataKey.ENGINE) is not None for record in standing.values())


def test_answers_of_an_engine_that_is_told_something_else_do_not_stand(
    certify: Certify, world: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("server", "{port}", "{model}")
    earlier = _on_a_server(monkeypatch, Earlier.of(certify()), command=command)
    environment = world.measuring_environment(earlier.plan, world.host())

    def told(**options: OptionValue) -> RunEnvironment:
        return replace(environment, engine_options={"openai": options})

    same = told(command=command)
    assert _answers(standing_records(earlier, earlier.plan, same)) > 0
    assert differences(earlier, earlier.plan, same) == []
    other = told(command=command, sampling=("top_k=0",))
    assert _answers(standing_records(earlier, earlier.plan, other)) == 0
    (what,) = differences(earlier, earlier.plan, other)
    assert what == f"what the engine openai client {__version__} is told has changed"


def test_answers_of_somebody_elses_server_never_stand(
    certify: Certify, world: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://127.0.0.1:9"
    earlier = _on_a_server(monkeypatch, Earlier.of(certify()), url=url)
    environment = world.measuring_environment(earlier.plan, world.host())
    same = replace(environment, engine_options={"openai": {"url": url}})
    assert _answers(standing_records(earlier, earlier.plan, same)) == 0
    (what,) = differences(earlier, earlier.plan, same)
    assert "nobody shows that it is the same" in what


@pytest.mark.parametrize(
    ("version", "stands"), [(__version__, True), ("0.0.1", False)], ids=["same", "another"]
)
def test_what_was_passed_over_must_be_of_the_same_version(
    certify: Certify,
    world: Surroundings,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    stands: bool,
) -> None:
    told: dict[str, OptionValue] = {"command": ("server", "{port}", "{model}")}
    earlier = _on_a_server(monkeypatch, Earlier.of(certify()), **told)
    over = [PassedOverEngine(engine="reference", version=version, reason="does not know it")]
    records = tuple(
        msgspec.structs.replace(
            record,
            metadata=record.metadata | {"engine_passed_over": canonical_json(over).decode()},
        )
        for record in earlier.records
    )
    monkeypatch.setattr(
        registry,
        "engine_catalogue",
        lambda: msgspec.structs.replace(
            engine_catalogue(), preferred={ModelFormat.SAFETENSORS: ("reference", "openai")}
        ),
    )
    environment = world.measuring_environment(earlier.plan, world.host())
    here = replace(environment, engine_options={"openai": told})
    earlier = replace(earlier, records=records)
    assert (_answers(standing_records(earlier, earlier.plan, here)) > 0) is stands
    assert bool(differences(earlier, earlier.plan, here)) is not stands


def test_a_failure_never_stands(certify: Certify, world: Surroundings) -> None:
    matrix = {"prompts": [_BEYOND_IT], "scenario_count": 4}
    first = certify(test_matrix=matrix)
    failed = {
        record.meta(MetadataKey.SCENARIO)
        for record in first.records
        if record.outcome is Outcome.FALSIFIED
    }
    assert failed
    earlier = Earlier.of(first)
    standing = standing_records(
        earlier, first.plan, world.measuring_environment(first.plan, world.host())
    )
    assert failed.isdisjoint(standing)
    assert standing


def test_without_a_change_what_failed_is_another_attempt(
    certify: Certify, world: Surroundings
) -> None:
    first = certify(test_matrix={"prompts": [_BEYOND_IT], "scenario_count": 4})
    repeated = _again(world)
    assert repeated.differences == ()
    assert repeated.failed
    second = repeated.bundle
    assert second.records[: len(first.records)] == first.records
    fresh = [record for record in second.records if record not in first.records]
    assert {attempt_of(record) for record in fresh} == {2}
    asked = {record.meta(MetadataKey.SCENARIO) for record in fresh if record.scenario.max_tokens}
    assert asked == set(repeated.failed)
    assert second.certificate.run_id == first.certificate.run_id
    assert second.score.mqs == first.score.mqs
    assert not second.score.flaky


def test_what_could_not_be_run_is_run_when_it_can_be(
    certify: Certify, world: Surroundings, model: Path
) -> None:
    away = model.rename(model.with_name("away"))
    first = certify()
    assert first.certificate.status is Status.INCONCLUSIVE
    away.rename(model)
    repeated = _again(world)
    assert repeated.differences == ()
    assert repeated.bundle.score.verdict == "good"
    assert repeated.bundle.certificate.status is Status.PROVISIONAL
    assert not repeated.bundle.certificate.narrowed
    assert repeated.bundle.certificate.model.files["safetensors"]


def test_after_a_change_the_cells_that_failed_are_run_whole_and_certify_nothing(
    certify: Certify, world: Surroundings, model: Path
) -> None:
    what = {"formats": ["gguf"], "quantizations": ["q8_0"]}
    weights = next(model.rglob("*q8_0*.gguf"))
    good = weights.read_bytes()
    weights.write_bytes(good[: len(good) // 2])
    broken = certify(what=what)
    assert broken.certificate.status is Status.BLOCKED
    weights.write_bytes(good)
    repeated = _again(world)
    assert repeated.differences == ("the gguf-q8_0 files have changed, or are not here",)
    assert repeated.bundle.certificate.narrowed
    assert repeated.bundle.score.verdict != "fell_short"
    assert repeated.bundle.records[: len(broken.records)] == broken.records


def test_when_nothing_failed_nothing_is_run(certify: Certify, world: Surroundings) -> None:
    first = certify()
    repeated = _again(world)
    assert (repeated.failed, repeated.differences) == ((), ())
    assert repeated.bundle.records == first.records


def test_what_was_never_run_has_not_failed(project: "Project", world: Surroundings) -> None:
    project("tiny")
    with pytest.raises(InputError, match="tiny has not been run: there is nothing that failed"):
        _again(world)
