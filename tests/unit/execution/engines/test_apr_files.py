"""The tool's commands on files, held to what they left (apr_standin.py says what that proves)."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.derived_files import ConvertsFiles, derive
from aprqa_ci.execution.engines.apr import AprEngine
from aprqa_ci.execution.engines.apr_files import AprFiles
from aprqa_ci.execution.engines.apr_process import AprTool
from aprqa_ci.execution.engines.interface import EngineAbsentError, ModelLoadError
from aprqa_ci.execution.examiners import ExaminesFiles
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat
from tests.apr_standin import COMMANDS, write_standin
from tests.apr_standin_files import read, write
from tests.broken_models import safetensors_of
from tests.tiny_llama import write_tiny_llama

Make = Callable[..., AprFiles]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(commands: tuple[str, ...] = COMMANDS, **behaviour: object) -> AprFiles:
        path = write_standin(tmp_path, **behaviour)
        tool = AprTool(path=path, version="0.4.99", commands=frozenset(commands))
        return AprFiles(tool, environment=os.environ, timeout_s=60)

    return made


@pytest.fixture
def model(tmp_path: Path) -> ModelFiles:
    return safetensors_of(write_tiny_llama(tmp_path / "model"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made" / "model.apr"


def test_forth_and_back_gives_the_same_numbers(
    make: Make, model: ModelFiles, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.directory)
    call = make().convert(Path("model.safetensors"), target)
    assert call.endswith(f"apr rosetta convert {model.weights[0]} {target}")
    back = target.parent / "back" / "model.safetensors"
    back.parent.mkdir()
    make().convert(target, back)
    assert back.read_bytes() != model.weights[0].read_bytes()
    with closing(open_safetensors([back])) as ours, closing(open_safetensors(model.weights)) as his:
        assert list(ours.tensors) == list(his.tensors)
        assert all((ours.load(name) == his.load(name)).all() for name in his.tensors)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("link", "made model.apr a link"),
        ("hardlink", "made model.apr a link"),
        ("nothing", "not there or empty"),
        ("beside", "left model.converted.apr beside"),
        ("source", "which it was only to read"),
    ],
)
def test_what_it_left_is_looked_at(
    make: Make, model: ModelFiles, target: Path, how: str, said: str
) -> None:
    with pytest.raises(EngineAbsentError, match=said):
        make(convert=how).convert(model.weights[0], target)


@pytest.mark.parametrize(
    ("how", "said"), [("lost", r"says \d+ tensors and wrote \d+"), ("unreadable", "be read")]
)
def test_safetensors_are_read_before_they_are_taken(
    make: Make, model: ModelFiles, target: Path, how: str, said: str
) -> None:
    make().convert(model.weights[0], target)
    back = target.parent / "back" / "model.safetensors"
    back.parent.mkdir()
    with pytest.raises(EngineAbsentError, match=said):
        make(convert=how).convert(target, back)


@pytest.mark.parametrize(
    ("code", "stderr", "raised"),
    [
        (5, "error: Validation failed: x", ModelLoadError),
        (9, "error: Feature not enabled", EngineAbsentError),
        (101, "thread 'main' panicked at x", EngineAbsentError),
        (-11, "", EngineAbsentError),
        (1, "memory allocation of 99 bytes failed", MemoryError),
    ],
)
def test_whose_fault_it_is(
    make: Make, model: ModelFiles, code: int, stderr: str, raised: type[Exception]
) -> None:
    target = model.directory / "model.apr"
    with pytest.raises(raised):
        make(exit=code, stderr=f"{stderr}\n").convert(model.weights[0], target)


def test_a_tool_that_lacks_the_command_or_hangs(
    make: Make, model: ModelFiles, target: Path, tmp_path: Path
) -> None:
    with pytest.raises(EngineAbsentError, match="has no command rosetta"):
        make(commands=("run",)).convert(model.weights[0], target)
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nsleep 60\n")
    slow.chmod(0o755)
    tool = AprTool(path=slow, version="0.4.99", commands=frozenset(COMMANDS))
    files = AprFiles(tool, environment=os.environ, timeout_s=0.2)
    with pytest.raises(EngineAbsentError, match=r"did not end within 0\.2 s"):
        files.convert(model.weights[0], target)


def test_a_copy_is_no_conversion(make: Make, model: ModelFiles, tmp_path: Path) -> None:
    files = make(convert="copy")
    with pytest.raises(EngineAbsentError, match=r"apr/1 made a copy of its source and called it"):
        derive(
            model,
            cache=tmp_path / "cache",
            converter=lambda: (files, "apr/1"),
            format=ModelFormat.APR,
        )
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("shards", [1, 3])
def test_an_apr_file_is_made_in_our_cache(make: Make, tmp_path: Path, shards: int) -> None:
    source = safetensors_of(write_tiny_llama(tmp_path / "sharded", shards=shards))
    before = {path: path.read_bytes() for path in source.directory.iterdir()}
    files, cache = make(), tmp_path / "cache"
    found = derive(source, cache=cache, converter=lambda: (files, "apr/1"), format=ModelFormat.APR)
    assert {path.name for path in found.files.directory.iterdir()} == {
        "model.apr",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "derived.json",
    }
    assert found.files.format is ModelFormat.APR
    back = derive(found.files, cache=cache, converter=lambda: (files, "apr/1"))
    with (
        closing(open_safetensors(back.files.weights)) as ours,
        closing(open_safetensors(source.weights)) as theirs,
    ):
        assert ours.tensors.keys() == theirs.tensors.keys()
    assert {path: path.read_bytes() for path in source.directory.iterdir()} == before
    with pytest.raises(ValueError, match="nothing makes gguf of apr"):
        derive(
            found.files,
            cache=cache,
            converter=lambda: (files, "apr/1"),
            format=ModelFormat.GGUF,
        )


def test_the_engine_offers_it(tmp_path: Path, model: ModelFiles, target: Path) -> None:
    engine = AprEngine(environment=os.environ, binary=str(write_standin(tmp_path)))
    assert isinstance(engine, ConvertsFiles)
    assert isinstance(engine, ExaminesFiles)
    engine.convert(model.weights[0], target)
    assert engine.examine(target).tensors == len(read(target))
    absent = AprEngine(environment={"PATH": str(tmp_path / "nowhere")})
    with pytest.raises(EngineAbsentError, match="cargo install apr-cli"):
        absent.convert(model.weights[0], target)


def test_an_examined_file(make: Make, model: ModelFiles, target: Path) -> None:
    make().convert(model.weights[0], target)
    found = make().examine(target)
    tensors = read(model.weights[0])
    assert (found.format, found.architecture, found.violations) == ("APR", "llama", 0)
    assert found.names == tuple(tensors)
    assert found.tensors == len(tensors)
    assert found.failed == {}
    entry, data = tensors["model.norm.weight"]
    write(target, tensors | {"model.norm.weight": (entry, b"\x00\x7e" * (len(data) // 2))})
    broken = make().examine(target)
    assert broken.failed == {"model.norm.weight": f"{len(data) // 2} NaN values"}
    assert broken.violations == 1
    target.write_bytes(target.read_bytes()[:100])
    with pytest.raises(ModelLoadError, match="Invalid APR format"):
        make().examine(target)


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ({"validate": "silent"}, "nothing of how many tensors"),
        ({"validate": "none"}, "checked no tensor"),
        ({"validate": "vague"}, "nothing of how many tensors"),
        ({"validate": "fewer"}, r"inspect counts \d+ tensors in .* and apr validate \d+"),
        ({"validate": "other", "inspect": {"tensor_names": "real"}}, "name different tensors"),
        ({"inspect": {"tensor_count": 0}}, "counts 0 tensors"),
        ({"inspect": {"format": None}}, "names no format"),
        ({"inspect": {"file_size": 7}}, "has 7 bytes; it has"),
        ({"inspect": {"tensor_names": []}, "validate": "fewer"}, "inspect counts"),
        ({"exit": 1, "stderr": "error: something in the library"}, "something in the library"),
        ({"exit": 5, "stderr": "error: Validation failed"}, "Validation failed"),
    ],
)
def test_nothing_passes_on_a_report_that_says_nothing(
    make: Make, model: ModelFiles, behaviour: dict[str, Any], said: str
) -> None:
    path = model.directory / "model.apr"
    write(path, read(model.weights[0]))
    if "tensor_names" in behaviour.get("inspect", {}):
        names = list(read(path)) if behaviour["inspect"]["tensor_names"] else []
        behaviour = behaviour | {"inspect": {"tensor_names": names}}
    with pytest.raises((EngineAbsentError, ModelLoadError), match=said):
        make(**behaviour).examine(path)


def test_a_profile(make: Make, model: ModelFiles) -> None:
    path = model.weights[0]
    found = make().profile(path, warmup=1, measure=2)
    assert (found.tokens_per_second, found.p50_ms, found.p99_ms) == (1e6, 0.1, None)
    assert found.invocation.endswith(f"apr profile {path} --ci --warmup 1 --measure 2 --json")
    assert found.tool == "apr/0.4.99"
    for nothing in ({}, {"throughput_tps": 0}, {"passed": True}, {"throughput_tps": "fast"}):
        with pytest.raises(EngineAbsentError, match="no throughput above zero"):
            make(profile=nothing).profile(path, warmup=1, measure=2)
