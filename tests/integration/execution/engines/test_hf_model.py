"""hf on real models: only where torch and transformers are installed (the extra ``hf``)."""

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aprqa_ci.execution.engines.hf import HfEngine
from aprqa_ci.execution.engines.interface import (
    EngineAbsentError,
    EngineFailedError,
    Message,
    ModelLoadError,
    PromptRefusedError,
    Sampling,
    Session,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.execution.engines.reference.engine import ReferenceEngine
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat
from tests.tiny_llama import write_tiny_llama

BUNDLED = Path(__file__).parents[4] / "aprqa_ci" / "data" / "models" / "aprqa-tiny"
QUESTIONS = (
    "What is 7 + 5?",
    "What is 83 - 29?",
    "What is the capital of France?",
    "Write a function that adds two numbers.",
    "Count from 1 to 10.",
    "Hello",
    "Say: café über 東京",
    "",
)

pytestmark = [
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("torch", "transformers")),
        reason="needs torch and transformers: pip install torch, then pip install 'aprqa-ci[hf]'",
    ),
    # The warnings of two large libraries are not ours.
    pytest.mark.filterwarnings("default"),
]


def files(directory: Path) -> ModelFiles:
    weights = tuple(sorted(directory.glob("*.safetensors")))
    return ModelFiles(
        format=ModelFormat.SAFETENSORS, weights=weights, directory=directory, source="local_path"
    )


def open_model(directory: Path) -> Session:
    return HfEngine().open(files(directory), Backend.CPU)


def asked(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


@pytest.fixture(scope="module")
def bundled() -> Iterator[Session]:
    session = open_model(BUNDLED)
    yield session
    session.close()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the bundled model, to be broken."""
    kept = shutil.ignore_patterns("*.gguf", "*.md")
    return Path(shutil.copytree(BUNDLED, tmp_path / "model", ignore=kept))


def test_greedy_answers_are_those_of_the_reference_engine(bundled: Session) -> None:
    reference = ReferenceEngine().open(files(BUNDLED), Backend.CPU)
    sampling = Sampling(max_tokens=40)
    for question in QUESTIONS:
        prompt = bundled.render(asked(question))
        found, expected = bundled.complete(prompt, sampling), reference.complete(prompt, sampling)
        assert (found.text, found.finish) == (expected.text, expected.finish)
        assert found.prompt_tokens == expected.prompt_tokens
        assert found.completion_tokens == expected.completion_tokens
    assert bundled.context_length == reference.context_length


def test_a_right_answer(bundled: Session) -> None:
    answer = bundled.complete(bundled.render(asked("What is 37 + 45?")), Sampling())
    assert (answer.text, answer.finish, answer.completion_tokens) == ("82", "stop", 2)
    assert answer.time_to_first_token_ms is not None
    assert 0 < answer.time_to_first_token_ms <= answer.duration_ms


def test_the_device_is_what_the_tensors_say(bundled: Session) -> None:
    device = bundled.device
    assert (device.backend, device.name, device.proven) == (Backend.CPU, "cpu", True)
    assert "all 38 parameters (1837312 bytes)" in device.proof
    assert "cpu" in device.proof


@pytest.mark.parametrize(("storage", "dtype"), [("F32", "float32"), ("BF16", "bfloat16")])
def test_numbers_stay_as_they_are_stored(tmp_path: Path, storage: str, dtype: str) -> None:
    directory = write_tiny_llama(tmp_path / "model", storage=storage, config={"dtype": "float16"})
    session = HfEngine().open(files(directory), Backend.CPU)
    assert f"dtype={dtype}," in session.invocation
    session.close()


def test_shards_are_one_model(tmp_path: Path) -> None:
    whole = write_tiny_llama(tmp_path / "whole", storage="F32")
    shards = write_tiny_llama(tmp_path / "shards", storage="F32", shards=3)
    answers = [
        open_model(directory).complete("the and", Sampling(max_tokens=8)).text
        for directory in (whole, shards)
    ]
    assert answers[0] == answers[1] != ""


def test_the_seed_decides_a_sampled_answer(bundled: Session) -> None:
    def ask(seed: int, temperature: float = 3.0) -> str:
        sampling = Sampling(max_tokens=12, temperature=temperature, seed=seed)
        return bundled.complete("x", sampling).text

    answers = [ask(seed) for seed in (0, 1, 2, -1, 1 << 64)]
    assert answers == [ask(seed) for seed in (0, 1, 2, -1, 1 << 64)]
    assert len(set(answers)) > 1
    assert ask(1, 0.0) == ask(2, 0.0)


def test_stop_texts_and_pieces(bundled: Session) -> None:
    prompt = bundled.render(asked("Count from 1 to 10."))
    pieces: list[str] = []
    answer = bundled.complete(prompt, Sampling(stop=("5,",)), on_text=pieces.append)
    assert (answer.text, answer.finish) == ("1, 2, 3, 4, ", "stop")
    assert "".join(pieces) == answer.text
    assert len(pieces) > 3


def test_max_tokens_and_a_full_context(bundled: Session) -> None:
    prompt = bundled.render(asked("Count from 1 to 10."))
    cut = bundled.complete(prompt, Sampling(max_tokens=3))
    assert (cut.completion_tokens, cut.finish) == (3, "length")
    with pytest.raises(PromptRefusedError, match="context 512"):
        bundled.complete("1" * 512, Sampling())
    last = bundled.complete("1" * 511, Sampling(max_tokens=9))
    assert last.completion_tokens <= 1
    with pytest.raises(PromptRefusedError, match="Unicode"):
        bundled.complete("\ud800", Sampling())
    with pytest.raises(ValueError, match="max_tokens"):
        bundled.complete("x", Sampling(max_tokens=0))


def test_an_exception_while_streaming_leaves_the_session_fine(bundled: Session) -> None:
    def fail(_: str) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        bundled.complete("x", Sampling(max_tokens=6), on_text=fail)
    assert bundled.complete("x", Sampling(max_tokens=6)).prompt_tokens == 1


def test_it_is_served(bundled: Session) -> None:
    with bundled.serve() as served:
        client = OpenAIClient(served.base_url, timeout_s=30)
        assert client.chat(asked("What is 37 + 45?"), Sampling(), stream=True).text == "82"


def test_the_template_is_rendered_as_transformers_renders_it(bundled: Session) -> None:
    import transformers

    own = transformers.AutoTokenizer.from_pretrained(BUNDLED, local_files_only=True)
    talk = [*asked("Hi"), Message(role="assistant", content="Yes?"), *asked("2 + 2?")]
    theirs = own.apply_chat_template(
        [{"role": each.role, "content": each.content} for each in talk],
        tokenize=False,
        add_generation_prompt=True,
    )
    assert bundled.render(talk) == theirs


def test_a_closed_session_answers_nothing() -> None:
    session = open_model(BUNDLED)
    session.close()
    session.close()
    with pytest.raises(EngineFailedError, match="closed"):
        session.complete("x", Sampling())


def edit_json(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))


def test_damaged_and_incomplete_files_are_the_models_fault(copy: Path) -> None:
    weights = copy / "model.safetensors"
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-1000])
    with pytest.raises(ModelLoadError, match=r"model\.safetensors"):
        open_model(copy)
    # A name of the same length, so that the file is sound and a tensor is not there.
    weights.write_bytes(sound.replace(b"model.norm.weight", b"model.nrom.weight"))
    with pytest.raises(ModelLoadError, match=r"tensors are missing: model\.norm\.weight"):
        open_model(copy)
    weights.write_bytes(sound)
    edit_json(copy / "config.json", lambda config: config.update(intermediate_size=999))
    with pytest.raises(ModelLoadError):
        open_model(copy)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_file_that_is_not_json(copy: Path, name: str) -> None:
    (copy / name).write_text("{")
    with pytest.raises(ModelLoadError):
        open_model(copy)


def test_code_of_the_repository_is_never_run(copy: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (copy / "modeling_own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    edit_json(
        copy / "config.json",
        lambda config: config.update(
            model_type="own", auto_map={"AutoModelForCausalLM": "modeling_own.Own"}
        ),
    )
    with pytest.raises(EngineAbsentError, match="never run here"):
        open_model(copy)
    # A known kind is run by the library's own code, whatever else is offered.
    edit_json(copy / "config.json", lambda config: config.update(model_type="llama"))
    open_model(copy).close()
    assert not ran.exists()


def test_a_kind_that_makes_no_text(copy: Path) -> None:
    edit_json(copy / "config.json", lambda config: config.update(model_type="clip"))
    with pytest.raises((EngineAbsentError, ModelLoadError)):
        open_model(copy)


def test_cuda_needs_a_device() -> None:
    import torch

    if torch.cuda.is_available():
        session = HfEngine().open(files(BUNDLED), Backend.GPU)
        assert session.device.backend is Backend.GPU
        assert "torch allocated" in session.device.proof
        prompt = session.render(asked("What is 37 + 45?"))
        assert session.complete(prompt, Sampling()).text == "82"
        session.close()
    else:
        with pytest.raises(EngineAbsentError, match="no CUDA device"):
            HfEngine().open(files(BUNDLED), Backend.GPU)
