"""The hf engine around stand-ins for torch and transformers.

They show what the engine makes of what the libraries say: versions, devices, reports, errors. What
the libraries really say, test_hf_model.py shows where they are installed; no test here has seen a
GPU.
"""

import contextlib
import importlib.metadata
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aprqa_ci.execution.engines.hf import HfEngine
from aprqa_ci.execution.engines.hf_loading import Libraries
from aprqa_ci.execution.engines.interface import (
    EngineAbsentError,
    EngineFailedError,
    Message,
    ModelLoadError,
    PromptRefusedError,
    Sampling,
    UnknownArchitectureError,
)
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat
from tests.tiny_llama import write_tiny_llama

END, BEGIN = 2, 1
BYTES = 100
CPU, GPU = Backend.CPU, Backend.GPU


class Ids:
    """As much of a tensor of token ids as the engine touches."""

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows
        self.shape = (len(rows), len(rows[0]))

    def __getitem__(self, place: tuple[int, slice]) -> "Ids":
        return Ids([self.rows[place[0]][place[1]]])

    def tolist(self) -> list[int]:
        return self.rows[0]

    def new_full(self, shape: tuple[int, ...], value: object) -> SimpleNamespace:
        return SimpleNamespace(bool=lambda: [value] * shape[0])


class Network:
    """A network that answers what it was told to, or raises it."""

    def __init__(self, libraries: "Fake") -> None:
        self.libraries = libraries
        self.config = SimpleNamespace(
            eos_token_id=END,
            get_text_config=lambda: SimpleNamespace(max_position_embeddings=libraries.context),
        )
        self.generation_config: Any = SimpleNamespace(eos_token_id=[END])
        self.dtype = "torch.float16"
        self.device = "cpu"

    def parameters(self) -> Iterator[SimpleNamespace]:
        place = self.libraries.lies_about or self.device
        yield SimpleNamespace(device=place, nbytes=BYTES)

    def buffers(self) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(device=self.device, nbytes=1)

    def to(self, device: str) -> "Network":
        self.device = device
        if device != "cpu":
            self.libraries.allocated += self.libraries.takes
        return self

    def eval(self) -> "Network":
        return self

    def generate(self, **given: Any) -> None:
        self.libraries.asked.append(given)
        ids = list(given["input_ids"].rows[0])
        for step in self.libraries.says:
            if isinstance(step, BaseException):
                raise step
            ids.append(step)
            if any(each(Ids([ids]), None)[0] for each in given["stopping_criteria"]):
                return
            if len(ids) - given["input_ids"].shape[1] == given["generation_config"].max_new_tokens:
                return


class Tokenizer:
    """One token a character, by its code point."""

    bos_token_id: int | None = BEGIN
    eos_token_id: int | None = END
    model_max_length = 10**30

    def __init__(self, *, adds_begin: bool) -> None:
        self.adds_begin = adds_begin

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        head = [BEGIN] if add_special_tokens and self.adds_begin else []
        return {"input_ids": [*head, *map(ord, text)]}

    def decode(self, ids: list[int], **_: object) -> str:
        # 5, 6 and 7 are the thirds of one character.
        text = "".join(map(chr, ids)).replace("\x05\x06\x07", "東").replace("\x05\x06", "\ufffd")
        return text.replace("\x05", "\ufffd")


class OutOfMemoryError(RuntimeError):
    """What torch raises for want of memory on a GPU."""


class Fake:
    """Both libraries, and what they are to do."""

    def __init__(self) -> None:
        self.says: list[int | BaseException] = [ord("o"), ord("k"), END]
        self.report: dict[str, object] = {}
        self.load_error: Exception | None = None
        self.context: int | None = 64
        self.cuda = False
        self.allocated = 7
        self.takes = BYTES
        self.lies_about = ""
        self.adds_begin = False
        self.asked: list[dict[str, Any]] = []
        self.loaded: list[tuple[list[str], dict[str, Any]]] = []
        self.seeds: list[int] = []
        self.emptied = 0

    @property
    def libraries(self) -> Libraries:
        def emptied() -> None:
            self.emptied += 1

        cuda = SimpleNamespace(
            is_available=lambda: self.cuda,
            memory_allocated=lambda _: self.allocated,
            get_device_name=lambda _: "NVIDIA Fake",
            empty_cache=emptied,
        )
        torch = SimpleNamespace(
            __version__="9.9",
            cuda=cuda,
            OutOfMemoryError=OutOfMemoryError,
            get_num_threads=lambda: 2,
            manual_seed=self.seeds.append,
            tensor=lambda rows, device: Ids(rows),  # noqa: ARG005 - torch's name
            ones_like=lambda ids: ids,
            inference_mode=contextlib.nullcontext,
            float16="float16",
            float32="float32",
        )
        transformers = SimpleNamespace(
            __version__="8.8",
            CONFIG_MAPPING={"llama": object},
            AutoModelForCausalLM=SimpleNamespace(from_pretrained=self.load),
            AutoTokenizer=SimpleNamespace(
                from_pretrained=lambda *_, **__: Tokenizer(adds_begin=self.adds_begin)
            ),
            GenerationConfig=SimpleNamespace,
            StoppingCriteriaList=list,
        )
        return Libraries(torch=torch, transformers=transformers)

    def load(self, directory: str, **settings: Any) -> tuple[Network, dict[str, object]]:
        self.loaded.append((sorted(path.name for path in Path(directory).iterdir()), settings))
        if self.load_error is not None:
            raise self.load_error
        return Network(self), self.report

    def engine(self) -> HfEngine:
        return HfEngine(import_libraries=lambda: self.libraries)


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("hf") / "model", shards=2)


def files(directory: Path) -> ModelFiles:
    return ModelFiles(
        format=ModelFormat.SAFETENSORS,
        weights=tuple(sorted(directory.glob("*.safetensors"))),
        directory=directory,
        source="local_path",
    )


def versions(**installed: str) -> Callable[[str], str]:
    def version_of(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    return version_of


def test_what_is_missing_is_named_with_how_to_get_it() -> None:
    info = HfEngine(version_of=versions(torch="2.13")).info()
    assert not info.available
    assert info.reason == "not installed: transformers"
    assert "pip install 'aprqa-ci[hf]'" in info.how_to_get
    assert info.backends == ()


@pytest.mark.parametrize(
    ("torch", "driver", "backends"),
    [("2.13+cpu", True, (CPU,)), ("2.13", False, (CPU,)), ("2.13", True, (CPU, GPU))],
)
def test_cuda_needs_a_build_and_a_driver(
    tmp_path: Path, torch: str, driver: bool, backends: tuple[Backend, ...]
) -> None:
    control = tmp_path / "nvidiactl"
    if driver:
        control.touch()
    version_of = versions(torch=torch, transformers="5.0")
    info = HfEngine(version_of=version_of, cuda_control=control).info()
    assert info.available
    assert info.backends == backends
    assert info.version == f"torch {torch}, transformers 5.0"


def test_libraries_that_cannot_be_imported_are_absent(tiny: Path) -> None:
    def fail() -> Libraries:
        raise ImportError("no torch")  # noqa: EM101 - a stand-in

    with pytest.raises(EngineAbsentError, match=r"no torch.*aprqa-ci\[hf\]"):
        HfEngine(import_libraries=fail).open(files(tiny), CPU)


def test_only_the_chosen_files_are_shown_to_the_library(
    fake: Fake, tiny: Path, tmp_path: Path
) -> None:
    directory = Path(shutil.copytree(tiny, tmp_path / "model"))
    for name in ("adapter_config.json", "modeling_own.py", "pytorch_model.bin"):
        (directory / name).touch()
    fake.engine().open(files(directory), CPU)
    shown, settings = fake.loaded[0]
    weights = sorted(path.name for path in directory.glob("*.safetensors"))
    assert set(weights) < set(shown)
    assert {"config.json", "tokenizer.json", "model.safetensors.index.json"} < set(shown)
    assert not {"adapter_config.json", "modeling_own.py", "pytorch_model.bin"} & set(shown)
    assert settings["trust_remote_code"] is False
    assert settings["local_files_only"] is True
    assert settings["use_safetensors"] is True
    assert settings["dtype"] == "float16"


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({"missing_keys": {"b", "a"}}, "tensors are missing: a, b"),
        ({"mismatched_keys": {("a", 1, 2)}}, "another shape than configured: a"),
        ({"error_msgs": ["x"]}, "cannot be read: x"),
        ({"missing_keys": set("abcdefg")}, "a, b, c, d, e and 2 more"),
    ],
)
def test_what_would_be_random_is_not_loaded(
    fake: Fake, tiny: Path, report: dict[str, object], said: str
) -> None:
    fake.report = report
    with pytest.raises(ModelLoadError, match=said):
        fake.engine().open(files(tiny), CPU)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("header too large"), ModelLoadError),
        (ImportError("sentencepiece"), EngineAbsentError),
        (ValueError("Unrecognized configuration class X"), EngineAbsentError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError),
        (OutOfMemoryError("CUDA"), MemoryError),
    ],
)
def test_whose_fault_a_failed_load_is(
    fake: Fake, tiny: Path, error: Exception, kind: type[Exception]
) -> None:
    fake.load_error = error
    with pytest.raises(kind):
        fake.engine().open(files(tiny), CPU)


def test_a_configuration_without_a_kind(fake: Fake, tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "model", config={"model_type": None})
    with pytest.raises(ModelLoadError, match="model_type"):
        fake.engine().open(files(directory), CPU)
    (directory / "config.json").unlink()
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        fake.engine().open(files(directory), CPU)


def test_a_kind_that_only_the_repositorys_code_knows(fake: Fake, tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "model", config={"model_type": "own", "auto_map": {}})
    with pytest.raises(
        UnknownArchitectureError, match=r"8\.8 does not know .*'own'.*never run here"
    ):
        fake.engine().open(files(directory), CPU)


def test_a_gpu_is_proven_by_its_memory(fake: Fake, tiny: Path) -> None:
    with pytest.raises(EngineAbsentError, match="finds no CUDA device"):
        fake.engine().open(files(tiny), GPU)
    fake.cuda = True
    session = fake.engine().open(files(tiny), GPU)
    assert session.device.name == "NVIDIA Fake"
    assert "torch allocated 100 bytes of its memory" in session.device.proof
    assert ".to('cuda:0')" in session.invocation
    session.close()
    assert fake.emptied == 1
    fake.takes = BYTES - 1
    with pytest.raises(EngineAbsentError, match="only 99 bytes"):
        fake.engine().open(files(tiny), GPU)


def test_tensors_that_are_elsewhere_prove_the_contrary(fake: Fake, tiny: Path) -> None:
    fake.lies_about = "meta"
    with pytest.raises(EngineAbsentError, match="on cpu, meta, not cpu"):
        fake.engine().open(files(tiny), CPU)


def test_an_unknown_context_has_a_bound(fake: Fake, tiny: Path) -> None:
    fake.context = None
    assert fake.engine().open(files(tiny), CPU).context_length == 4096


def test_an_answer_ends_with_the_end_token_a_stop_text_or_the_limit(fake: Fake, tiny: Path) -> None:
    session = fake.engine().open(files(tiny), CPU)
    answer = session.complete("hi", Sampling())
    assert (answer.text, answer.finish, answer.completion_tokens) == ("ok", "stop", 2)
    assert answer.prompt_tokens == 2
    answer = session.complete("hi", Sampling(max_tokens=1))
    assert (answer.text, answer.finish, answer.completion_tokens) == ("o", "length", 1)
    answer = session.complete("hi", Sampling(stop=("k",)))
    assert (answer.text, answer.finish, answer.completion_tokens) == ("o", "stop", 2)
    assert fake.seeds == []
    assert fake.asked[0]["generation_config"].do_sample is False


def test_pieces_of_a_character_wait_for_the_rest(fake: Fake, tiny: Path) -> None:
    fake.says = [ord("a"), 5, 6, 7, ord("b"), 5, END]
    pieces: list[str] = []
    session = fake.engine().open(files(tiny), CPU)
    answer = session.complete("hi", Sampling(), on_text=pieces.append)
    assert pieces == ["a", "東", "b", "\ufffd"]
    assert answer.text == "a東b\ufffd"


def test_temperature_alone_decides_and_the_seed_is_given(fake: Fake, tiny: Path) -> None:
    fake.engine().open(files(tiny), CPU).complete("hi", Sampling(temperature=0.5, seed=-1))
    settings = fake.asked[0]["generation_config"]
    assert (settings.temperature, settings.top_k, settings.top_p) == (0.5, 0, 1.0)
    assert fake.seeds == [(1 << 64) - 1]


@pytest.mark.parametrize(
    ("prompt", "adds_begin", "tokens"),
    [("a", True, [BEGIN, 97]), ("a", False, [97]), ("\x01a", True, [1, 97]), ("", False, [BEGIN])],
)
def test_beginning_tokens(
    fake: Fake, tiny: Path, prompt: str, adds_begin: bool, tokens: list[int]
) -> None:
    fake.adds_begin = adds_begin
    fake.engine().open(files(tiny), CPU).complete(prompt, Sampling())
    assert fake.asked[0]["input_ids"].rows == [tokens]


def test_without_any_token_to_begin_with(
    fake: Fake, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tokenizer, "bos_token_id", None)
    session = fake.engine().open(files(tiny), CPU)
    session.complete("", Sampling())
    monkeypatch.setattr(Tokenizer, "eos_token_id", None)
    session.complete("", Sampling())
    assert [each["input_ids"].rows for each in fake.asked] == [[[END]], [[0]]]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (IndexError("out of range"), EngineFailedError),
        (OutOfMemoryError("CUDA"), MemoryError),
        (MemoryError(), MemoryError),
        (RuntimeError("can't allocate memory"), MemoryError),
    ],
)
def test_whose_fault_a_failed_answer_is(
    fake: Fake, tiny: Path, error: Exception, kind: type[Exception]
) -> None:
    fake.says = [error]
    session = fake.engine().open(files(tiny), CPU)
    with pytest.raises(kind):
        session.complete("hi", Sampling())


def test_what_is_refused(fake: Fake, tiny: Path) -> None:
    session = fake.engine().open(files(tiny), CPU)
    with pytest.raises(PromptRefusedError, match="64 tokens and the context 64"):
        session.complete("x" * 64, Sampling())
    with pytest.raises(PromptRefusedError, match="Unicode"):
        session.complete("\udcff", Sampling())
    with pytest.raises(ValueError, match="max_tokens"):
        session.complete("x", Sampling(max_tokens=0))

    def fail(_: str) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        session.complete("hi", Sampling(), on_text=fail)
    assert "user" in session.render([Message(role="user", content="x")])
    session.close()
    with pytest.raises(EngineFailedError, match="closed"):
        session.complete("hi", Sampling())
