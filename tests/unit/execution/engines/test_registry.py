"""Choosing the engine of a cell."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.execution.engines import registry
from aprqa_ci.execution.engines.interface import (
    Engine,
    EngineAbsentError,
    EngineInfo,
    OptionValue,
    Session,
)
from aprqa_ci.execution.engines.registry import (
    ENTRY_POINT_GROUP,
    EngineCatalogue,
    configured,
    describe,
    engine_catalogue,
    engine_for,
    engine_named,
    engine_names,
    engines,
)
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

GGUF, SAFETENSORS, APR = ModelFormat.GGUF, ModelFormat.SAFETENSORS, ModelFormat.APR
CPU, GPU = Backend.CPU, Backend.GPU
FILES = ModelFiles(format=GGUF, weights=(Path("m.gguf"),), directory=Path(), source="local_path")


@dataclass
class FakeEngine:
    name: str
    formats: tuple[ModelFormat, ...]
    backends: tuple[Backend, ...] = (CPU,)
    reason: str = ""

    def info(self) -> EngineInfo:
        return EngineInfo(
            name=self.name,
            version=None if self.reason else "1",
            available=not self.reason,
            reason=self.reason,
            how_to_get=f"pip install {self.name}",
            formats=self.formats,
            backends=self.backends,
        )

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        raise AssertionError(model, backend)

    def open(self, model: ModelFiles, backend: Backend) -> Session:
        raise AssertionError(model, backend)


def candidates(*found: FakeEngine) -> dict[str, Engine]:
    return {engine.name: engine for engine in found}


REFERENCE = FakeEngine("reference", (GGUF, SAFETENSORS))
LLAMACPP = FakeEngine("llamacpp", (GGUF,))
BOTH = candidates(REFERENCE, LLAMACPP)


@pytest.mark.parametrize(
    ("kind", "asked", "chosen"),
    [
        (GGUF, None, "llamacpp"),
        (GGUF, "reference", "reference"),
        (SAFETENSORS, None, "reference"),
    ],
)
def test_the_preferred_engine_unless_another_is_asked_for(
    kind: ModelFormat, asked: str | None, chosen: str
) -> None:
    assert engine_for(kind, CPU, asked=asked, candidates=BOTH).name == chosen


def test_the_next_engine_stands_in_for_one_that_is_absent() -> None:
    absent = FakeEngine("llamacpp", (GGUF,), reason="no library")
    found = engine_for(GGUF, CPU, asked=None, candidates=candidates(absent, REFERENCE))
    assert found.name == "reference"


def test_an_engine_that_was_passed_over_is_not_chosen_again() -> None:
    why = {"llamacpp": "does not know it"}
    found = engine_for(GGUF, CPU, asked=None, candidates=BOTH, passed_over=why)
    assert found.name == "reference"
    with pytest.raises(EngineAbsentError, match=r"on cpu here: llamacpp does not know it$"):
        engine_for(GGUF, CPU, asked="llamacpp", candidates=BOTH, passed_over=why)


def test_an_engine_that_was_asked_for_has_no_stand_in() -> None:
    absent = FakeEngine("llamacpp", (GGUF,), reason="no library")
    with pytest.raises(EngineAbsentError, match=r"no library \(pip install llamacpp\)"):
        engine_for(GGUF, CPU, asked="llamacpp", candidates=candidates(absent, REFERENCE))


def test_a_gpu_cell_gets_an_engine_with_a_gpu_or_none() -> None:
    with pytest.raises(EngineAbsentError, match=r"llamacpp has no gpu.*reference has no gpu"):
        engine_for(GGUF, GPU, asked=None, candidates=BOTH)
    able = FakeEngine("reference", (GGUF,), (CPU, GPU))
    found = engine_for(GGUF, GPU, asked=None, candidates=candidates(LLAMACPP, able))
    assert found.name == "reference"


def test_an_engine_that_cannot_read_the_format_is_refused() -> None:
    with pytest.raises(EngineAbsentError, match="llamacpp does not read safetensors"):
        engine_for(SAFETENSORS, CPU, asked="llamacpp", candidates=BOTH)


def test_an_unknown_engine_is_named_with_the_near_one() -> None:
    with pytest.raises(EngineAbsentError, match="'lamacpp': perhaps 'llamacpp'"):
        engine_for(GGUF, CPU, asked="lamacpp", candidates=BOTH)
    with pytest.raises(EngineAbsentError, match="known are llamacpp, reference"):
        engine_for(GGUF, CPU, asked="zzz", candidates=BOTH)


def test_a_format_without_an_engine_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = EngineCatalogue(
        schema="aprqa-engines/1",
        built_in={},
        preferred={APR: ()},
        without_engine={APR: "it is new"},
    )
    monkeypatch.setattr(registry, "engine_catalogue", lambda: catalogue)
    with pytest.raises(EngineAbsentError, match="it is new"):
        engine_for(APR, CPU, asked=None, candidates=BOTH)
    with pytest.raises(EngineAbsentError, match="none is installed"):
        engine_for(GGUF, CPU, asked=None, candidates={})


def test_the_built_in_engines_answer_to_their_names() -> None:
    found = engines(lambda: ())
    assert tuple(found) == tuple(engine_catalogue().built_in) == engine_names(lambda: ())
    for name, engine in found.items():
        info = engine.info()
        assert engine.name == info.name == name
        assert info.formats
        assert info.available or (info.reason and info.how_to_get)
    assert found["reference"].info().available
    assert found["llamacpp"].info().available


def test_what_is_preferred_is_there_and_reads_the_format() -> None:
    found = engines(lambda: ())
    for kind, names in engine_catalogue().preferred.items():
        assert all(kind in found[name].info().formats for name in names), kind


class ThirdEngine(FakeEngine):
    def __init__(self) -> None:
        super().__init__("third", (GGUF,))


class MisnamedEngine(FakeEngine):
    def __init__(self) -> None:
        super().__init__("somebody-else", (GGUF,))


class FailingEngine(FakeEngine):
    def __init__(self) -> None:
        what = "no licence key"
        raise RuntimeError(what)


class SpeechlessEngine(ThirdEngine):
    def info(self) -> EngineInfo:
        what = "the driver is asleep"
        raise OSError(what)


class RamblingEngine(ThirdEngine):
    def info(self) -> Any:
        return {"name": "third"}


def plugin(kind: str, name: str = "third") -> Callable[[], list[EntryPoint]]:
    value = kind if ":" in kind else f"{__name__}:{kind}"
    return lambda: [EntryPoint(name=name, value=value, group=ENTRY_POINT_GROUP)]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point names this module, which pytest imports under a name of its own."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules[ThirdEngine.__module__])


def test_an_engine_of_another_package_is_found_by_its_entry_point() -> None:
    installed = plugin("ThirdEngine")
    assert engine_names(installed)[-1] == "third"
    assert engine_named("third", installed).info().available
    assert engines(installed)["third"].info().version == "1"


def test_an_engine_of_another_package_is_imported_only_when_it_is_asked_for() -> None:
    loaded = []

    class Plugin:
        name, value = "third", "m:C"

        def load(self) -> object:
            loaded.append(self.name)
            return ThirdEngine

    installed = lambda: [Plugin()]  # noqa: E731 - reads best in one line
    assert "third" in engine_names(installed)
    engine_named("reference", installed)
    assert not loaded
    engine_named("third", installed)
    assert loaded == ["third"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("FailingEngine", "fails: RuntimeError: no licence key"),
        ("no_such_module_at_all:Engine", "fails: ModuleNotFoundError"),
        ("NoSuchClass", "fails: AttributeError"),
        ("CPU", "is no engine: it has no info, invocation, open"),
        ("MisnamedEngine", "calls itself 'somebody-else'"),
    ],
)
def test_a_broken_entry_point_is_a_named_lack(kind: str, reason: str) -> None:
    engine = engine_named("third", plugin(kind))
    info = engine.info()
    assert (info.name, info.available) == ("third", False)
    assert reason in info.reason
    with pytest.raises(EngineAbsentError, match="engine third is not available: "):
        engine.open(FILES, CPU)
    with pytest.raises(EngineAbsentError, match=r"third is not available: .* package that brings"):
        engine_for(GGUF, CPU, asked="third", candidates={"third": engine})


@pytest.mark.parametrize("name", ["Third", "", "a b", "x" * 33, "../third"])
def test_a_name_that_no_command_line_takes_is_a_lack(name: str) -> None:
    assert "a name is 1 to 32" in engine_named(name, plugin("ThirdEngine", name)).info().reason


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (SpeechlessEngine, "cannot describe itself: OSError: the driver is asleep"),
        (RamblingEngine, "its info() is no EngineInfo"),
    ],
)
def test_an_engine_that_cannot_describe_itself_is_not_available(
    kind: type[ThirdEngine], reason: str
) -> None:
    info = describe(kind())
    assert (info.name, info.available) == ("third", False)
    assert reason in info.reason
    with pytest.raises(EngineAbsentError, match="not available"):
        engine_for(GGUF, CPU, asked="third", candidates={"third": kind()})


def test_two_packages_with_the_same_name_are_a_lack_and_ours_cannot_be_replaced() -> None:
    two = lambda: [*plugin("ThirdEngine")(), *plugin("MisnamedEngine")()]  # noqa: E731 - as above
    assert "several packages" in engine_named("third", two).info().reason
    ours = plugin("ThirdEngine", "reference")
    assert type(engine_named("reference", ours)).__name__ == "ReferenceEngine"
    assert engine_names(ours).count("reference") == 1


def test_another_packages_engine_is_never_chosen_by_itself() -> None:
    third = candidates(ThirdEngine())
    assert engine_for(GGUF, CPU, asked="third", candidates=third).name == "third"
    with pytest.raises(EngineAbsentError, match="none is installed"):
        engine_for(GGUF, CPU, asked=None, candidates=third)


def test_options_reach_the_engine_that_takes_them() -> None:
    @dataclass
    class Optioned(FakeEngine):
        url: str = ""

        def with_options(self, options: Mapping[str, OptionValue]) -> "Optioned":
            return replace(self, url=str(options["url"]))

        def secrets(self) -> tuple[str, ...]:
            return ()

    given = {"far": {"url": "http://127.0.0.1:1"}}
    found = engine_for(
        GGUF, CPU, asked="far", candidates=candidates(Optioned("far", (GGUF,))), options=given
    )
    assert isinstance(found, Optioned)
    assert found.url == "http://127.0.0.1:1"
    with pytest.raises(InputError, match="engine reference takes no options, and is given url"):
        configured(REFERENCE, given["far"])


def test_a_name_that_there_is_not_is_said_with_the_near_one() -> None:
    with pytest.raises(EngineAbsentError, match="perhaps 'llamacpp' is meant"):
        engine_named("lamacpp", lambda: ())


def test_the_preferred_engine_for_gguf_is_llamacpp_itself() -> None:
    assert engine_for(GGUF, CPU, asked=None).name == "llamacpp"
