"""Making files in a child: what goes wrong there is the machine's trouble, never the model's."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from aprqa_ci.execution import made_files
from aprqa_ci.execution.child import ChildDiedError, ChildTimeoutError
from aprqa_ci.execution.derivable import Derivable, find_model, why_not_made, why_not_made_of
from aprqa_ci.execution.derived_files import FindConverter, no_converter
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.made_files import make_files
from aprqa_ci.execution.protocol import Absent, Derived, OutOfMemory, Reply
from aprqa_ci.execution.resolve import ModelNotFoundError
from aprqa_ci.planning.plan import PlannedModel
from aprqa_ci.vocabulary import ModelFormat, SizeCategory
from tests.broken_models import safetensors_of
from tests.tiny_llama import write_tiny_llama

GGUF = ModelFormat.GGUF


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_tiny_llama(tmp_path / "model")
    return tmp_path


class Apr:
    """Stands for the converter of APR files."""

    def convert(self, *_: Path) -> str:
        raise AssertionError


def search(
    home: Path,
    quantization: str | None = "q8_0",
    format_: ModelFormat = GGUF,
    converter: FindConverter = no_converter,
) -> object:
    model = PlannedModel(
        hf_repo="org/tiny",
        local_path=str(home / "model"),
        formats=(format_,),
        size_category=SizeCategory.TINY,
    )
    return find_model(
        model,
        format=format_,
        quantization=quantization,
        environment={},
        home=home,
        converter=converter,
    )


@pytest.fixture
def found(home: Path) -> Derivable:
    found = search(home)
    assert isinstance(found, Derivable)
    return found


class Child:
    """Stands for a child process that gives one reply, or none."""

    def __init__(self, reply: Reply | Exception) -> None:
        self._reply = reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def request(self, _: object, *, timeout_s: float) -> Reply:
        assert timeout_s > 0
        if isinstance(self._reply, Exception):
            raise self._reply
        return self._reply


def make(found: Derivable, cache: Path, reply: Reply | Exception) -> Derived:
    spawn: Callable[[], Child] = lambda: Child(reply)  # noqa: E731 - typed by its name
    return make_files(
        found,
        cache=cache,
        limits=load_limits(),
        spawn=spawn,  # type: ignore[arg-type] # a stand-in for the process
        asking=nullcontext,
    )


def test_the_reply_is_handed_on(found: Derivable, tmp_path: Path) -> None:
    made = Derived(files=found.source, precision="q8_0", digests={}, source={})
    assert make(found, tmp_path / "cache", made) == made


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (ChildTimeoutError(3, ""), "no reply within 3 s"),
        (ChildDiedError(-11, "the end of it"), "SIGSEGV"),
        (Absent(message="a tokenizer nobody knows"), "a tokenizer nobody knows"),
    ],
)
def test_what_was_not_made_is_still_nowhere(
    found: Derivable, tmp_path: Path, reply: Reply | Exception, said: str
) -> None:
    with pytest.raises(ModelNotFoundError, match="is not on this machine") as caught:
        make(found, tmp_path / "cache", reply)
    assert said in caught.value.looked_at[-1]
    assert len(caught.value.looked_at) == len(found.absent.looked_at) + 1


@pytest.mark.parametrize(
    "reply", [OutOfMemory(message="no more"), ChildDiedError(-9, "", out_of_memory=True)]
)
def test_want_of_memory_is_told_as_that(
    found: Derivable, tmp_path: Path, reply: Reply | Exception
) -> None:
    with pytest.raises(MemoryError, match="making gguf q8_0 of"):
        make(found, tmp_path / "cache", reply)


def test_nothing_is_begun_without_room(
    found: Derivable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = AssertionError("a child was asked")
    monkeypatch.setattr(made_files, "available_memory_mb", lambda: 1)
    limits = load_limits()
    needed = 10 * 2**20
    large = Derivable(
        source=found.source,
        format=GGUF,
        quantization="q8_0",
        absent=found.absent,
        size_bytes=found.size_bytes,
        tensor_bytes=needed,
    )
    with pytest.raises(MemoryError, match="30 MiB of memory are needed"):
        make(large, tmp_path / "cache", never)
    assert large.lack_of_memory(limits, 30) == ""
    assert large.lack_of_memory(limits, 29)
    # A system that hides its memory is not one without any.
    assert large.lack_of_memory(limits, 0) == ""
    huge = Derivable(
        source=found.source,
        format=GGUF,
        quantization="q8_0",
        absent=found.absent,
        size_bytes=10**18,
        tensor_bytes=1,
    )
    with pytest.raises(OSError, match="GB are needed to make gguf q8_0"):
        make(huge, tmp_path / "cache", never)
    assert found.lack_of_disk(tmp_path, 10**9) == ""
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(OSError, match="see APRQA_CACHE"):
        make(found, tmp_path / "cache", never)


def test_about_as_large_as_it_will_be(home: Path) -> None:
    sizes = {}
    for name in ("f32", "f16", "q8_0", "q4_0"):
        found = search(home, name)
        assert isinstance(found, Derivable)
        sizes[name] = found.size_bytes
    source = safetensors_of(home / "model").size_bytes
    assert sizes["f16"] == source
    assert sizes["f32"] == 2 * source
    assert sizes["q4_0"] < sizes["q8_0"] < source


@pytest.mark.parametrize(
    ("quantization", "format_", "said"),
    [
        ("q4_k_m", GGUF, "in q4_k_m (known:"),
        (None, GGUF, "without a quantization (known:"),
        (None, ModelFormat.APR, "here as apr"),
    ],
)
def test_what_is_never_made_is_named(
    home: Path, quantization: str | None, format_: ModelFormat, said: str
) -> None:
    assert why_not_made(format_, quantization, no_converter)
    with pytest.raises(ModelNotFoundError) as caught:
        search(home, quantization, format_)
    assert said in str(caught.value)


def test_a_place_that_cannot_be_read_may_have_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nothing is made: a published file wins."""
    real = Path.is_dir

    def is_dir(path: Path) -> bool:
        if path.name == "apr-models" or "apr-models" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    assert isinstance(search(home), Derivable)
    monkeypatch.setattr(Path, "is_dir", is_dir)
    with pytest.raises(ModelNotFoundError, match="Permission denied"):
        search(home)


def test_without_safetensors_there_is_nothing_to_make_it_of(home: Path) -> None:
    (home / "model" / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError) as caught:
        search(home)
    assert "it cannot be made here of SafeTensors: org/tiny (safetensors) is not" in str(
        caught.value
    )


def test_a_configuration_says_whether_anything_is_made(home: Path) -> None:
    data = (home / "model" / "config.json").read_bytes()
    other = data.replace(b"LlamaForCausalLM", b"PhiForCausalLM")
    assert why_not_made_of(data, GGUF) == ""
    assert "not valid JSON" in why_not_made_of(b"{", GGUF)
    assert "not a JSON object" in why_not_made_of(b"[]", GGUF)
    assert "PhiForCausalLM" in why_not_made_of(other, GGUF)


def test_apr_files_are_made_where_their_converter_is(home: Path, tmp_path: Path) -> None:
    found = search(home, None, ModelFormat.APR, lambda: (Apr(), "apr/1"))
    assert isinstance(found, Derivable)
    assert (found.format, found.quantization, found.name) == (ModelFormat.APR, None, "apr")
    # Half-size numbers may become 32 bits, in the file and while it is made.
    assert found.size_bytes == 2 * found.source.size_bytes
    limits = load_limits()
    large = replace(found, source=Large())  # type: ignore[arg-type] # a stand-in for the files
    assert "about 10240 MiB of memory are needed to make apr" in large.lack_of_memory(limits, 9)
    made = Derived(files=found.source, precision="", digests={}, source={})
    assert make(found, tmp_path / "cache", made) == made
    # Whether it knows the architecture is for the converter to say.
    (home / "model" / "config.json").write_text('{"model_type": "phi"}')
    assert isinstance(search(home, None, ModelFormat.APR, lambda: (Apr(), "apr/1")), Derivable)
    assert why_not_made_of(b"{}", ModelFormat.APR) == ""


class Large:
    """Stands for SafeTensors of 4 GiB."""

    size_bytes = 4 << 30
