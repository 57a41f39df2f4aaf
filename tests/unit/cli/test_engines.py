import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.cli import engines
from aprqa_ci.execution.engines.conformance import CheckState, ConformanceReport
from aprqa_ci.execution.engines.interface import Capability, EngineInfo
from aprqa_ci.execution.engines.registry import engine_names
from aprqa_ci.vocabulary import Backend, ModelFormat
from aprqa_ci.wire import decode_wire
from tests.broken_engines import install_engines

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa


def test_engines_are_listed(aprqa: "Aprqa") -> None:
    ended = aprqa("engines")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].split() == ["engine", "version", "here", "formats", "backends", "promises"]
    names = list(engine_names())
    assert [line.split()[0] for line in lines[1 : 1 + len(names)]] == names
    told = json.loads(aprqa("engines", "--json").out)
    assert [each["name"] for each in told] == names
    (reference,) = (each for each in told if each["name"] == "reference")
    assert set(reference["capabilities"]) == {str(each) for each in Capability}
    assert all(isinstance(each["available"], bool) for each in told)


def test_how_to_get_an_engine_that_is_not_here(
    aprqa: "Aprqa", monkeypatch: pytest.MonkeyPatch
) -> None:
    class Absent:
        name = "far"

        def info(self) -> EngineInfo:
            return EngineInfo(
                name="far",
                version=None,
                available=False,
                reason="far is not installed",
                formats=(ModelFormat.GGUF,),
                backends=(Backend.GPU,),
                how_to_get="pip install far",
            )

    monkeypatch.setattr(engines, "known_engines", lambda: {"far": Absent()})
    ended = aprqa("engines")
    assert ended.out.splitlines()[1].split() == ["far", "-", "no", "gguf", "gpu", "-"]
    assert "far: far is not installed; pip install far" in ended.out


@pytest.mark.parametrize(
    ("promised", "shown"),
    [
        (tuple(Capability), "all"),
        ((Capability.RAW, Capability.SEED), "raw, seed"),
        (tuple(Capability)[1:], "all but raw"),
        ((), "-"),
    ],
)
def test_promises_are_told_the_short_way(promised: tuple[Capability, ...], shown: str) -> None:
    info = EngineInfo(
        name="any",
        version=None,
        available=True,
        reason="",
        how_to_get="",
        formats=(),
        backends=(),
        capabilities=promised,
    )
    assert engines._promises(info) == shown


def test_an_engine_is_held_to_its_promises(aprqa: "Aprqa") -> None:
    ended = aprqa("engines", "--check", "llamacpp", "bundled")
    assert ended.code == 0, ended.out + ended.err
    assert "aprqa-tiny-q8_0.gguf (gguf q8_0), cpu" in ended.out
    assert "device: cpu: " in ended.out
    assert "called: xllamacpp.Server(" in ended.out
    assert ended.out.rstrip().endswith("19 passed")


def test_a_broken_promise_is_exit_code_1(
    aprqa: "Aprqa", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install_engines(site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    ended = aprqa("engines", "--check", "one-seed", "bundled", "--format", "safetensors", "--json")
    assert ended.code == 1
    assert "error: engine one-seed does not keep what it promises" in ended.err
    report = decode_wire(ended.out, ConformanceReport, source="stdout")
    assert (report.format, report.quantization) == (ModelFormat.SAFETENSORS, None)
    assert {result.check for result in report.of(CheckState.FAILED)} == {"seed"}


def test_what_could_not_be_tried_is_exit_code_3(
    aprqa: "Aprqa", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aprqa_ci.execution.engines.conformance.life_checks.traceable", bool)
    ended = aprqa("engines", "--check", "reference", "bundled")
    assert ended.code == 3
    assert "error: not everything could be tried on engine reference" in ended.err
    assert "2 not-tried" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bundled",), "MODEL 'bundled' is for --check NAME"),
        (("--check", "llamacpp"), "--check needs a MODEL"),
        (("--check", "lamacpp", "bundled"), "perhaps 'llamacpp' is meant"),
        (("--check", "llamacpp", "/no/such/model"), "is not on this machine"),
        (("--check", "llamacpp", "bundled", "--quantization", "q2_k"), "is not on this machine"),
        (("--engine-option", "llamacpp"), "is not an engine's option"),
        (("--engine-option", "lamacpp.speed=9"), "perhaps 'llamacpp' is meant"),
        (
            ("--check", "llamacpp", "bundled", "--engine-option", "llamacpp.speed=9"),
            "engine llamacpp takes no options, and is given speed",
        ),
    ],
)
def test_what_users_get_wrong_is_said(
    aprqa: "Aprqa", arguments: tuple[str, ...], said: str
) -> None:
    ended = aprqa("engines", *arguments)
    assert ended.code != 0
    assert said in ended.err + " ".join(ended.out.split())
    assert "Traceback" not in ended.err


def test_engines_are_listed_as_they_are_told(aprqa: "Aprqa") -> None:
    command = '["server", "--port", "{port}", "{model}"]'
    ended = aprqa("engines", "--engine-option", f"openai.command={command}", "--json")
    assert ended.code == 0, ended.err
    (openai,) = (each for each in json.loads(ended.out) if each["name"] == "openai")
    assert "no server is given" not in openai["reason"]


def test_what_an_engine_never_claimed_is_no_broken_promise(aprqa: "Aprqa") -> None:
    ended = aprqa("engines", "--check", "llamacpp", "bundled", "--format", "safetensors")
    assert ended.code == 2
    assert "engine llamacpp does not claim safetensors; it reads gguf" in ended.err
    ended = aprqa("engines", "--check", "reference", "bundled", "--backend", "gpu")
    assert ended.code == 3
    assert "engine reference does not claim gpu on this machine" in ended.err


def test_how_to_get_an_engine_is_said_once() -> None:
    info = EngineInfo(
        name="far",
        version=None,
        available=False,
        reason="there is no far: pip install far",
        formats=(),
        backends=(),
        how_to_get="pip install far",
    )
    assert engines._lack(info) == "there is no far: pip install far"


def test_an_engine_that_is_not_here_cannot_be_checked(
    aprqa: "Aprqa", monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = EngineInfo(
        name="llamacpp",
        version=None,
        available=False,
        reason="no library",
        how_to_get="pip install it",
        formats=(ModelFormat.GGUF,),
        backends=(),
    )
    monkeypatch.setattr(engines, "describe", lambda _: lacking)
    ended = aprqa("engines", "--check", "llamacpp", "bundled")
    assert ended.code == 3
    assert "error: engine llamacpp is not here: no library; pip install it" in ended.err
