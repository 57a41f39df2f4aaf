import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution import derived_files
from aprqa_ci.execution.derived_files import (
    ConvertsFiles,
    already_derived,
    counterpart_format,
    derive,
    source_digest,
    stored_precision,
)
from aprqa_ci.execution.engines.interface import EngineAbsentError
from aprqa_ci.execution.formats.convert import (
    convert_gguf_to_safetensors,
    convert_safetensors_to_gguf,
)
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.files import sha256_file
from aprqa_ci.vocabulary import ModelFormat
from tests.broken_models import cut, gguf_of, safetensors_of
from tests.tiny_llama import safetensors_bytes, write_tiny_llama


def nobody() -> tuple[ConvertsFiles, str]:
    what = "apr is not here"
    raise EngineAbsentError(what)


GGUF: Any = {"format": ModelFormat.GGUF, "converter": nobody}


@pytest.fixture
def model(tmp_path: Path) -> ModelFiles:
    return safetensors_of(write_tiny_llama(tmp_path / "model"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def everything_below(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("storage", ["F16", "BF16", "F32"])
def test_safetensors_keep_every_number_as_gguf(tmp_path: Path, cache: Path, storage: str) -> None:
    source = safetensors_of(write_tiny_llama(tmp_path / "other", storage=storage, shards=2))
    found = derive(source, cache=cache, converter=nobody)
    assert found.made
    assert found.derivation.precision == stored_precision(source) == storage.lower()
    with (
        closing(open_gguf(found.files.weights[0])) as ours,
        closing(open_safetensors(source.weights)) as theirs,
    ):
        assert ours.tensors["blk.0.ffn_up.weight"].dtype == storage
        left, right = (
            ours.load("blk.0.ffn_up.weight"),
            theirs.load("model.layers.0.mlp.up_proj.weight"),
        )
        assert (left == right).all()


def test_mixed_precisions_are_kept_in_the_widest(tmp_path: Path) -> None:
    for name, storage in (("a", "F16"), ("b", "BF16")):
        values = (storage, (2, 2), bytes(8))
        (tmp_path / f"{name}.safetensors").write_bytes(safetensors_bytes({name: values}))
    assert stored_precision(safetensors_of(tmp_path)) == "f32"


def test_gguf_becomes_a_directory_that_can_be_read(
    model: ModelFiles, tmp_path: Path, cache: Path
) -> None:
    path = tmp_path / "tiny-q8_0.gguf"
    convert_safetensors_to_gguf(model.directory, path, "q8_0")
    found = derive(gguf_of(path), cache=cache, converter=nobody)
    assert counterpart_format(ModelFormat.GGUF) is found.files.format is ModelFormat.SAFETENSORS
    assert found.derivation.precision == "f32"
    assert found.derivation.source == {path.name: sha256_file(path)}
    with closing(open_safetensors(found.files.weights)) as ours:
        assert len(ours.tensors) == 20
    assert {path.name for path in found.files.directory.iterdir()} > {"config.json", "derived.json"}


def test_it_is_made_once_and_says_what_it_is_made_of(model: ModelFiles, cache: Path) -> None:
    first = derive(model, cache=cache, converter=nobody)
    again = derive(model, cache=cache, converter=nobody)
    assert (first.made, again.made) == (True, False)
    assert again.files == first.files
    assert again.digests == first.digests == {"model.gguf": sha256_file(first.files.weights[0])}
    record = json.loads((first.files.directory / "derived.json").read_text(encoding="utf-8"))
    told = record["derivation"]
    assert told["source"]["model.safetensors"] == sha256_file(model.weights[0])
    assert "tokenizer.json" in told["source"]
    assert told["tool"].startswith("aprqa-ci/")
    assert first.files.directory.name == first.derivation.key


def test_another_source_or_tool_is_another_file(
    model: ModelFiles, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {derive(model, cache=cache, converter=nobody).files.directory}
    config = model.directory / "tokenizer_config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    places.add(derive(model, cache=cache, converter=nobody).files.directory)
    monkeypatch.setattr(derived_files, "__version__", "9.9.9")
    places.add(derive(model, cache=cache, converter=nobody).files.directory)
    assert len(places) == 3


@pytest.mark.parametrize("damage", ["cut", "record", "other", "link"])
def test_a_damaged_one_is_made_anew(model: ModelFiles, cache: Path, damage: str) -> None:
    first = derive(model, cache=cache, converter=nobody)
    whole = first.files.weights[0].read_bytes()
    record = first.files.directory / "derived.json"
    match damage:
        case "cut":
            cut(first.files.weights[0], 0.9)
        case "record":
            record.write_text("{", encoding="utf-8")
        case "other":
            record.write_text(
                record.read_text(encoding="utf-8").replace('"f16"', '"f32"'), encoding="utf-8"
            )
        case _:
            elsewhere = cache / "elsewhere.gguf"
            elsewhere.write_bytes(whole)
            first.files.weights[0].unlink()
            first.files.weights[0].symlink_to(elsewhere)
    again = derive(model, cache=cache, converter=nobody)
    assert again.made
    assert not again.files.weights[0].is_symlink()
    assert again.files.weights[0].read_bytes() == whole


def test_nothing_is_written_beside_the_source_or_through_links(
    tmp_path: Path, model: ModelFiles, cache: Path
) -> None:
    # A hub's snapshot: the names are links into blobs, which a careless write would overwrite.
    blobs, snapshot = (
        tmp_path / "hub" / "models--o--n" / each for each in ("blobs", "snapshots/c")
    )
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for path in model.directory.iterdir():
        shutil.copyfile(path, blobs / path.name)
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    before = everything_below(tmp_path / "hub")
    derive(safetensors_of(snapshot), cache=cache, converter=nobody)
    assert everything_below(tmp_path / "hub") == before
    for wrong in (snapshot, snapshot / "sub", blobs):
        with pytest.raises(OSError, match="the directory of a model"):
            derive(safetensors_of(snapshot), cache=wrong, converter=nobody)
    assert not (snapshot / "sub").exists()
    with pytest.raises(OSError, match="the directory of a model"):
        derive(model, cache=model.directory, converter=nobody)


@pytest.mark.parametrize("level", ["derived", "prefix", "place"])
def test_a_planted_link_is_refused(
    tmp_path: Path, model: ModelFiles, cache: Path, level: str
) -> None:
    found = derive(model, cache=cache, converter=nobody)
    victim = tmp_path / "victim"
    victim.mkdir()
    place = {
        "derived": cache / "derived",
        "prefix": found.files.directory.parent,
        "place": found.files.directory,
    }[level]
    shutil.rmtree(place)
    place.symlink_to(victim, target_is_directory=True)
    with pytest.raises(OSError, match="no directory of ours"):
        derive(model, cache=cache, converter=nobody)
    assert list(victim.iterdir()) == []


def test_a_source_that_cannot_be_converted_leaves_nothing(model: ModelFiles, cache: Path) -> None:
    (model.directory / "tokenizer.json").unlink()
    with pytest.raises(FormatError):
        derive(model, cache=cache, converter=nobody)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_the_weights_are_those_that_were_found(
    tmp_path: Path, model: ModelFiles, cache: Path
) -> None:
    other = write_tiny_llama(tmp_path / "other", seed=2)
    tuned = model.directory / "tuned.safetensors"
    shutil.copyfile(other / "model.safetensors", tuned)
    source = ModelFiles(
        format=ModelFormat.SAFETENSORS,
        weights=(tuned,),
        directory=model.directory,
        source="local_path",
    )
    found = derive(source, cache=cache, converter=nobody)
    with (
        closing(open_gguf(found.files.weights[0])) as ours,
        closing(open_safetensors(source.weights)) as theirs,
    ):
        name = "model.norm.weight"
        assert (ours.load("output_norm.weight") == theirs.load(name)).all()


class Apr:
    """Stands for the engine apr: a GGUF file under another suffix. It proves nothing of apr."""

    def __init__(self) -> None:
        self.calls: list[tuple[Path, Path]] = []

    def convert(self, source: Path, target: Path) -> str:
        self.calls.append((source, target))
        copy = target.with_name("copy.gguf")
        shutil.copyfile(source, copy)
        convert_gguf_to_safetensors(copy, target.parent / "out", "f16")
        (target.parent / "out" / "model.safetensors").rename(target)
        shutil.rmtree(target.parent / "out")
        copy.unlink()
        return f"apr convert {source} {target}"


def test_apr_files_are_converted_by_their_own_tool(model: ModelFiles, cache: Path) -> None:
    path = model.directory / "model.apr"
    convert_safetensors_to_gguf(model.directory, path, "f16")
    source = ModelFiles(
        format=ModelFormat.APR, weights=(path,), directory=model.directory, source="local_path"
    )
    with pytest.raises(EngineAbsentError, match="apr is not here"):
        derive(source, cache=cache, converter=nobody)
    apr = Apr()
    assert isinstance(apr, ConvertsFiles)
    found = derive(source, cache=cache, converter=lambda: (apr, "apr/1.2"))
    assert found.derivation.tool == "apr/1.2"
    assert [call[0] for call in apr.calls] == [path]
    names = {path.name for path in found.files.directory.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "derived.json"} <= names
    assert not derive(source, cache=cache, converter=lambda: (apr, "apr/1.2")).made
    # The files beside it decide the answers as well.
    (model.directory / "config.json").write_text("{}")
    assert derive(source, cache=cache, converter=lambda: (apr, "apr/1.2")).made
    assert derive(source, cache=cache, converter=lambda: (apr, "apr/1.3")).made
    assert len(apr.calls) == 3


def test_a_file_that_was_asked_for_in_a_quantization_says_so(
    model: ModelFiles, cache: Path
) -> None:
    assert already_derived(model, cache=cache, **GGUF, quantization="q8_0") is None
    found = derive(model, cache=cache, converter=nobody, quantization="q8_0")
    assert found.derivation.precision == "q8_0"
    with closing(open_gguf(found.files.weights[0])) as ours:
        assert ours.tensors["blk.0.ffn_up.weight"].dtype == "Q8_0"
    origin = found.files.origin
    assert origin is not None
    assert (origin.files, origin.tool) == (model, found.derivation.tool)
    assert origin.digest == source_digest(found.derivation.source)
    again = already_derived(model, cache=cache, **GGUF, quantization="q8_0")
    assert again is not None
    assert (again.files, again.made) == (found.files, False)
    assert already_derived(model, cache=cache, **GGUF, quantization="q4_0") is None


def test_what_lies_behind_a_link_is_not_taken(model: ModelFiles, cache: Path) -> None:
    derive(model, cache=cache, converter=nobody, quantization="q8_0")
    (cache / "derived").rename(cache / "elsewhere")
    (cache / "derived").symlink_to(cache / "elsewhere")
    with pytest.raises(OSError, match="no directory of ours"):
        already_derived(model, cache=cache, **GGUF, quantization="q8_0")
