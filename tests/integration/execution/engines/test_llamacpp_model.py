"""llama.cpp on a real, tiny model: counts, settings, limits, damage."""

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from aprqa_ci.execution.engines.interface import (
    EngineFailedError,
    Message,
    ModelLoadError,
    PromptRefusedError,
    Sampling,
    Session,
    UnknownArchitectureError,
)
from aprqa_ci.execution.engines.llamacpp import LlamaCppEngine
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

CONTEXT = 128
TALK = [Message(role="user", content="What is 1 + 2?")]


def files(path: Path) -> ModelFiles:
    return ModelFiles(
        format=ModelFormat.GGUF, weights=(path,), directory=path.parent, source="local_path"
    )


def open_file(path: Path) -> Session:
    return LlamaCppEngine(environment={"OMP_NUM_THREADS": "1"}).open(files(path), Backend.CPU)


def run_python(program: str, model: ModelFiles) -> str:
    """Run a program with the model's path as its argument and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(model.weights[0])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_device_is_the_processor(llamacpp: Session) -> None:
    assert llamacpp.device.backend is Backend.CPU
    assert llamacpp.device.name in llamacpp.device.proof


def test_a_greedy_answer_repeats_and_is_counted(llamacpp: Session) -> None:
    sampling = Sampling(max_tokens=8)
    first = llamacpp.complete("the and", sampling)
    assert first.text
    # the, Ġ, and: the tokenizer has no merge for the space.
    assert first.prompt_tokens == 3
    assert first.completion_tokens <= 8
    assert (first.completion_tokens == 8) == (first.finish == "length")
    assert first.time_to_first_token_ms is not None
    assert 0 < first.time_to_first_token_ms <= first.duration_ms
    llamacpp.complete("something else in between", Sampling(max_tokens=3))
    assert llamacpp.complete("the and", sampling).text == first.text


def test_control_tokens_in_the_text_are_tokens(llamacpp: Session) -> None:
    sampling = Sampling(max_tokens=1)
    plain = llamacpp.complete("xx", sampling).prompt_tokens
    assert llamacpp.complete("x<|im_end|>x", sampling).prompt_tokens == plain + 1


def test_max_tokens(llamacpp: Session) -> None:
    whole = llamacpp.complete("the", Sampling(max_tokens=6))
    part = llamacpp.complete("the", Sampling(max_tokens=2))
    assert (part.completion_tokens, part.finish) == (2, "length")
    assert whole.text.startswith(part.text)


def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(llamacpp: Session) -> None:
    whole = llamacpp.complete("the", Sampling(max_tokens=12)).text
    stop = whole[4:6]
    answer = llamacpp.complete("the", Sampling(max_tokens=12, stop=(stop,)))
    assert answer.finish == "stop"
    assert answer.text == whole[: whole.index(stop)]


def test_pieces_joined_are_the_answer(llamacpp: Session) -> None:
    pieces: list[str] = []
    answer = llamacpp.complete("the", Sampling(max_tokens=6), on_text=pieces.append)
    assert len(pieces) > 1
    assert "".join(pieces) == answer.text


def test_an_exception_while_streaming_leaves_the_session_fine(llamacpp: Session) -> None:
    def fail(_: str) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        llamacpp.complete("the", Sampling(max_tokens=6), on_text=fail)
    assert llamacpp.complete("the", Sampling(max_tokens=6)).text


def test_the_seed_decides_a_sampled_answer(llamacpp: Session) -> None:
    def ask(seed: int) -> str:
        sampling = Sampling(max_tokens=12, temperature=5.0, seed=seed)
        return llamacpp.complete("the", sampling).text

    answers = [ask(seed) for seed in range(5)]
    assert answers == [ask(seed) for seed in range(5)]
    assert len(set(answers)) > 1


def test_temperature_takes_rare_tokens_too(llamacpp: Session) -> None:
    def answers(temperature: float) -> set[str]:
        settings = (Sampling(max_tokens=1, temperature=temperature, seed=n) for n in range(200))
        return {llamacpp.complete("the", sampling).text for sampling in settings}

    assert len(answers(0.0)) == 1
    # The library's own default would keep the forty likeliest of them at most.
    assert len(answers(1e6)) > 40


def test_the_context_length_is_true(llamacpp: Session) -> None:
    assert llamacpp.context_length == CONTEXT
    one = llamacpp.complete("x", Sampling(max_tokens=1)).prompt_tokens
    assert one == 1
    # No merge joins digits, so each is a token.
    fits = llamacpp.complete("7" * (CONTEXT - 1), Sampling(max_tokens=50))
    assert (fits.prompt_tokens, fits.completion_tokens) == (CONTEXT - 1, 1)
    with pytest.raises(PromptRefusedError, match="context size"):
        llamacpp.complete("7" * CONTEXT, Sampling(max_tokens=1))
    assert llamacpp.complete("x", Sampling(max_tokens=1)).prompt_tokens == 1


def test_an_answer_ends_with_the_context(llamacpp: Session) -> None:
    answer = llamacpp.complete("7" * (CONTEXT - 5), Sampling(max_tokens=500))
    assert answer.prompt_tokens + answer.completion_tokens <= CONTEXT
    assert answer.completion_tokens <= 5


@pytest.mark.parametrize("prompt", ["", " ", "\n", "\x00", "\U0001f600", "\u202eabc", "é" * 20])
def test_odd_prompts_are_answered(llamacpp: Session, prompt: str) -> None:
    answer = llamacpp.complete(prompt, Sampling(max_tokens=2))
    assert answer.prompt_tokens >= 1
    assert answer.finish in {"stop", "length"}


def test_a_conversation_is_rendered_with_the_files_template(llamacpp: Session) -> None:
    assert llamacpp.render(TALK) == (
        "<|im_start|>user\nWhat is 1 + 2?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_beginning_is_never_doubled(tiny_gguf: ModelFiles, tmp_path: Path) -> None:
    data = tiny_gguf.weights[0].read_bytes()
    flag = b"tokenizer.ggml.add_bos_token" + struct.pack("<I", 7)
    assert flag + b"\x00" in data, "the converter writes the flag"
    path = tmp_path / "bos.gguf"
    path.write_bytes(data.replace(flag + b"\x00", flag + b"\x01"))
    session = open_file(path)
    try:
        ask = Sampling(max_tokens=1)
        assert session.complete("x", ask).prompt_tokens == 2
        assert session.complete("<|endoftext|>x", ask).prompt_tokens == 2
        assert session.complete("<|endoftext|><|endoftext|>x", ask).prompt_tokens == 3
        assert session.complete("<|endoftext|>", ask).prompt_tokens == 1
        assert session.complete("", ask).prompt_tokens == 1
    finally:
        session.close()


def test_a_beginning_that_the_model_does_not_add_stays(llamacpp: Session) -> None:
    ask = Sampling(max_tokens=1)
    assert llamacpp.complete("<|endoftext|>x", ask).prompt_tokens == 2


def test_a_template_that_cannot_be_rendered_fails_in_conversations_only(
    tiny_gguf: ModelFiles, tmp_path: Path
) -> None:
    data = tiny_gguf.weights[0].read_bytes()
    assert b"{% endfor %}" in data
    path = tmp_path / "template.gguf"
    path.write_bytes(data.replace(b"{% endfor %}", b"{% endfur %}"))
    session = open_file(path)
    try:
        assert session.complete("the", Sampling(max_tokens=2)).completion_tokens == 2
        with pytest.raises(EngineFailedError, match="endfur"):
            session.render(TALK)
        with pytest.raises(EngineFailedError, match="cannot serve"), session.serve():
            pass
        assert session.complete("the", Sampling(max_tokens=2)).completion_tokens == 2
    finally:
        session.close()


def test_a_session_can_be_closed_as_soon_as_it_is_open(tiny_gguf: ModelFiles) -> None:
    # Freed too early, the library waits for ever, with Python's lock held: hence the process.
    program = """
import sys
from pathlib import Path
from aprqa_ci.execution.engines.llamacpp import LlamaCppEngine
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

path = Path(sys.argv[1])
model = ModelFiles(format=ModelFormat.GGUF, weights=(path,), directory=path.parent, source="x")
engine = LlamaCppEngine(environment={"OMP_NUM_THREADS": "1"})
for _ in range(10):
    engine.open(model, Backend.CPU).close()
print("closed")
"""
    assert "closed" in run_python(program, tiny_gguf)


def test_leaving_while_requests_are_in_work(tiny_gguf: ModelFiles) -> None:
    program = """
import socket, sys
from pathlib import Path
from aprqa_ci.execution.engines.llamacpp import LlamaCppEngine
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

path = Path(sys.argv[1])
model = ModelFiles(format=ModelFormat.GGUF, weights=(path,), directory=path.parent, source="x")
session = LlamaCppEngine(environment={"OMP_NUM_THREADS": "1"}).open(model, Backend.CPU)
body = b'{"prompt": "the", "max_tokens": 100, "ignore_eos": true}'
head = b"POST /v1/completions HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: application/json\\r\\n"
with session.serve() as served:
    port = int(served.base_url.rpartition(":")[2])
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(6)]
    for client in clients:
        client.sendall(head + b"Content-Length: %d\\r\\n\\r\\n" % len(body) + body)
session.close()
print("closed")
"""
    assert "closed" in run_python(program, tiny_gguf)


def test_a_file_that_is_not_there_does_not_load(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="none"):
        open_file(tmp_path / "none.gguf")


@pytest.mark.parametrize("kept", [0, 3, 100, 5000, -1])
def test_a_truncated_file_does_not_load(tiny_gguf: ModelFiles, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_gguf.weights[0].read_bytes()[:kept])
    with pytest.raises(ModelLoadError):
        open_file(path)


def test_random_bytes_do_not_load(tmp_path: Path) -> None:
    path = tmp_path / "random.gguf"
    path.write_bytes(random.Random(1).randbytes(5000))
    with pytest.raises(ModelLoadError, match="not a GGUF file"):
        open_file(path)


def test_an_unknown_architecture_is_a_lack_of_the_library(
    tiny_gguf: ModelFiles, tmp_path: Path
) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(tiny_gguf.weights[0].read_bytes().replace(b"llama", b"blama"))
    with pytest.raises(UnknownArchitectureError, match="unknown model architecture: 'blama'"):
        open_file(path)


def test_too_little_memory_is_not_the_models_fault(tiny_gguf: ModelFiles) -> None:
    # In a process of its own: the limit cannot be raised again.
    program = """
import re, resource, sys
from pathlib import Path
from aprqa_ci.execution.engines import llamacpp
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

path = Path(sys.argv[1])
model = ModelFiles(format=ModelFormat.GGUF, weights=(path,), directory=path.parent, source="x")
engine = llamacpp.LlamaCppEngine(environment={"OMP_NUM_THREADS": "1"})
engine.open(model, Backend.CPU).close()
used = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + (80 << 20), resource.RLIM_INFINITY))
real = llamacpp._set_constants
def larger(library, parameters):
    real(library, parameters)
    parameters.n_ctx = 1 << 19
llamacpp._set_constants = larger
try:
    engine.open(model, Backend.CPU)
except MemoryError as error:
    print("MemoryError:", error)
"""
    assert "MemoryError: there is not enough memory" in run_python(program, tiny_gguf)


def test_the_engine_says_what_it_is() -> None:
    info = LlamaCppEngine().info()
    assert info.available
    assert info.version
    assert info.formats == (ModelFormat.GGUF,)
    assert Backend.CPU in info.backends
    assert not info.independent
