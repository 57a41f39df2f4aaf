"""The llama.cpp engine around a stand-in for its library."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from aprqa_ci.execution.engines.chat_template import PLAIN_TEMPLATE
from aprqa_ci.execution.engines.interface import (
    Device,
    EngineAbsentError,
    EngineFailedError,
    ModelLoadError,
    PromptRefusedError,
    Sampling,
)
from aprqa_ci.execution.engines.llamacpp import MAX_CONTEXT, LlamaCppEngine
from aprqa_ci.execution.engines.llamacpp_session import LlamaCppSession
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat

CPU_KIND, GPU_KIND, INTEGRATED_KIND = 0, 1, 2
WEIGHTS = 1000


class FakeLibrary:
    """As much of xllamacpp as the engine touches before an answer."""

    ggml_backend_dev_type = SimpleNamespace(
        GGML_BACKEND_DEVICE_TYPE_CPU=CPU_KIND,
        GGML_BACKEND_DEVICE_TYPE_GPU=GPU_KIND,
        GGML_BACKEND_DEVICE_TYPE_IGPU=INTEGRATED_KIND,
    )
    common_reasoning_format = SimpleNamespace(COMMON_REASONING_FORMAT_NONE=0)

    def __init__(self, *, gpu: bool = False, taken: int = 0, log: str = "") -> None:
        self.gpu = gpu
        self.taken = taken
        self.log = log
        self.loaded: list[SimpleNamespace] = []
        self.replies = 0

    def CommonParams(self) -> SimpleNamespace:  # noqa: N802 - the library's name
        parts = ("model", "cpuparams", "cpuparams_batch", "sampling")
        return SimpleNamespace(**{name: SimpleNamespace() for name in parts})

    def Server(self, parameters: SimpleNamespace) -> object:  # noqa: N802 - the library's name
        if self.log:
            os.write(2, self.log.encode())
            raise RuntimeError("Failed to init server")  # noqa: EM101 - a stand-in
        self.loaded.append(parameters)
        return SimpleNamespace(handle_metrics=self.metrics)

    def metrics(self) -> str:
        self.replies += 1
        return ""

    def get_device_info(self) -> list[dict[str, Any]]:
        cpu = {"type": CPU_KIND, "name": "CPU", "description": "Some CPU", "memory_free": 1}
        free = 10_000 - (self.taken if self.loaded else 0)
        gpu = {"type": GPU_KIND, "name": "G0", "description": "Some GPU", "memory_free": free}
        return [cpu, gpu] if self.gpu else [cpu]


def engine(library: object, **environment: str) -> LlamaCppEngine:
    return LlamaCppEngine(import_library=lambda: library, environment=environment)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFiles:
    """A file whose metadata are read by a stand-in."""
    path = tmp_path / "m.gguf"
    path.write_bytes(bytes(WEIGHTS))
    metadata = {"general.architecture": "llama", "llama.context_length": 64}
    monkeypatch.setattr(
        "aprqa_ci.execution.engines.llamacpp.open_gguf",
        lambda _: SimpleNamespace(metadata=metadata, close=lambda: None),
    )
    return ModelFiles(
        format=ModelFormat.GGUF, weights=(path,), directory=tmp_path, source="local_path"
    )


def test_a_library_that_is_not_here_makes_the_engine_absent(model: ModelFiles) -> None:
    def fail() -> object:
        raise ImportError("no module of that name")  # noqa: EM101 - a stand-in

    absent = LlamaCppEngine(import_library=fail, environment={})
    info = absent.info()
    assert not info.available
    assert info.version is None
    assert info.backends == ()
    assert "no module of that name" in info.reason
    assert "pip install" in info.how_to_get
    with pytest.raises(EngineAbsentError, match="no module of that name"):
        absent.open(model, Backend.CPU)


def test_a_build_without_gpu_offers_none_and_says_how_to_get_one(model: ModelFiles) -> None:
    library = FakeLibrary()
    info = engine(library).info()
    assert info.available
    assert info.backends == (Backend.CPU,)
    assert "CUDA" in info.how_to_get
    with pytest.raises(EngineAbsentError, match="reports no GPU"):
        engine(library).open(model, Backend.GPU)
    assert library.loaded == []


def test_a_gpu_that_took_the_weights_in_is_proven_used(model: ModelFiles) -> None:
    library = FakeLibrary(gpu=True, taken=WEIGHTS)
    assert engine(library).info().backends == (Backend.CPU, Backend.GPU)
    device = engine(library).open(model, Backend.GPU).device
    assert (device.backend, device.name) == (Backend.GPU, "Some GPU")
    assert "1000 bytes" in device.proof
    assert library.loaded[0].n_gpu_layers > 0
    assert not library.loaded[0].no_op_offload


def test_a_gpu_that_was_left_alone_is_no_gpu_run(model: ModelFiles) -> None:
    library = FakeLibrary(gpu=True, taken=WEIGHTS // 2 - 1)
    with pytest.raises(EngineAbsentError, match="no GPU was used"):
        engine(library).open(model, Backend.GPU)
    # The model is freed at once; before the library's first reply, that would hang.
    assert library.replies == 1


def test_a_cpu_session_offers_nothing_to_a_gpu(model: ModelFiles) -> None:
    library = FakeLibrary(gpu=True, taken=WEIGHTS)
    device = engine(library).open(model, Backend.CPU).device
    assert device.backend is Backend.CPU
    assert device.name == "Some CPU"
    (parameters,) = library.loaded
    assert parameters.n_gpu_layers == 0
    assert parameters.no_op_offload
    assert parameters.no_kv_offload


@pytest.mark.parametrize(
    ("asked", "threads"), [("1", 1), ("3,2", 3), ("0", 1), ("99", 8), ("many", None), ("", None)]
)
def test_threads(model: ModelFiles, asked: str, threads: int | None) -> None:
    library = FakeLibrary()
    made = engine(library, OMP_NUM_THREADS=asked)
    made.open(model, Backend.CPU)
    expected = threads or min(len(os.sched_getaffinity(0)), 8)
    assert library.loaded[0].cpuparams.n_threads == expected
    assert f"n_threads={expected}" in made.invocation(model, Backend.CPU)


def test_the_invocation_names_the_file_and_the_backend(model: ModelFiles) -> None:
    made = engine(FakeLibrary())
    assert str(model.weights[0]) in made.invocation(model, Backend.CPU)
    assert "n_gpu_layers=0" in made.invocation(model, Backend.CPU)
    assert "n_gpu_layers=0" not in made.invocation(model, Backend.GPU)


@pytest.mark.parametrize(("trained", "expected"), [(64, 64), (10**6, MAX_CONTEXT)])
def test_the_context_is_the_trained_one_up_to_a_bound(
    model: ModelFiles, monkeypatch: pytest.MonkeyPatch, trained: int, expected: int
) -> None:
    metadata = {"general.architecture": "llama", "llama.context_length": trained}
    monkeypatch.setattr(
        "aprqa_ci.execution.engines.llamacpp.open_gguf",
        lambda _: SimpleNamespace(metadata=metadata, close=lambda: None),
    )
    library = FakeLibrary()
    assert engine(library).open(model, Backend.CPU).context_length == expected
    assert library.loaded[0].n_ctx == expected


def test_each_slot_has_the_whole_context(model: ModelFiles) -> None:
    library = FakeLibrary()
    engine(library).open(model, Backend.CPU)._start(slots=4, template=PLAIN_TEMPLATE)
    assert [(each.n_parallel, each.n_ctx) for each in library.loaded] == [(1, 64), (4, 256)]


def test_temperature_alone_decides_and_no_cache_is_used(model: ModelFiles) -> None:
    library = FakeLibrary()
    engine(library).open(model, Backend.CPU)
    (parameters,) = library.loaded
    sampling = parameters.sampling
    assert (sampling.top_k, sampling.top_p, sampling.min_p) == (0, 1.0, 0.0)
    assert parameters.cache_prompt is False
    assert parameters.hostnames == ["127.0.0.1"]


def test_what_the_library_logs_is_the_reason(model: ModelFiles) -> None:
    log = "0.00.004.677 E llama_model_load: tensor 'x' is missing\n0.00.004.7 E cmn: failed\n"
    with pytest.raises(ModelLoadError, match=r"model: llama_model_load: tensor 'x' is missing$"):
        engine(FakeLibrary(log=log)).open(model, Backend.CPU)


def test_a_failure_without_a_log_keeps_the_librarys_message(model: ModelFiles) -> None:
    with pytest.raises(ModelLoadError, match="Failed to init server"):
        engine(FakeLibrary(log="\n")).open(model, Backend.CPU)


@pytest.mark.parametrize(
    "log",
    [
        "ggml_aligned_malloc: insufficient memory (attempted to allocate 293.06 MB)",
        "ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory",
        "failed to allocate buffer for kv cache",
    ],
)
def test_no_memory_is_never_the_models_fault(model: ModelFiles, log: str) -> None:
    with pytest.raises(MemoryError, match="not enough memory"):
        engine(FakeLibrary(log=log)).open(model, Backend.CPU)


Report = dict[str, Any]
Reports = list[Report]

END: Report = {
    "choices": [{"text": "", "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    "__verbose": {"stop_type": "eos"},
}


def piece(text: str) -> Report:
    return {"choices": [{"text": text, "finish_reason": None}]}


class FakeServer:
    """Reports what it is told to, until it is asked to stop."""

    def __init__(self, reports: Reports) -> None:
        self.reports = reports
        self.requests: Reports = []
        self.reported = 0

    def handle_metrics(self) -> str:
        return "llamacpp:requests_processing 0\nllamacpp:requests_deferred 0\n"

    def handle_completions(self, request: Report, report: Callable[[Report], bool]) -> None:
        self.requests.append(request)
        for each in self.reports:
            self.reported += 1
            if report(each):
                return


def session(server: object, *, first_token: int | None = 1) -> LlamaCppSession:
    return LlamaCppSession(
        start=lambda **_: server,
        server=server,
        device=Device(backend=Backend.CPU, name="cpu", proof=""),
        context_length=64,
        template=PLAIN_TEMPLATE,
        bos="",
        first_token=first_token,
    )


def test_the_end_token_is_not_counted() -> None:
    answer = session(FakeServer([piece("a"), piece(""), END])).complete("x", Sampling())
    assert (answer.text, answer.completion_tokens, answer.finish) == ("a", 1, "stop")
    assert answer.time_to_first_token_ms is not None
    assert 0 <= answer.time_to_first_token_ms <= answer.duration_ms


def test_a_stop_text_is_not_an_end_token() -> None:
    end = END | {"__verbose": {"stop_type": "word"}}
    assert session(FakeServer([end])).complete("x", Sampling()).completion_tokens == 2


def test_sampling_reaches_the_library() -> None:
    server = FakeServer([END])
    asked = session(server)
    asked.complete("x", Sampling(max_tokens=5, temperature=0.5, seed=7, stop=("s",)))
    asked.complete("x", Sampling(seed=0xFFFFFFFF))
    asked.complete("x", Sampling(seed=-1))
    hot, wrapped, negative = server.requests
    assert hot["max_tokens"] == 5
    assert hot["temperature"] == 0.5
    assert hot["seed"] == 7
    assert hot["stop"] == ["s"]
    assert hot["cache_prompt"] is False
    # The largest seed means a random one to the library.
    assert (wrapped["seed"], negative["seed"]) == (0, 0xFFFFFFFE)


def test_an_empty_prompt_is_the_first_token_or_refused() -> None:
    server = FakeServer([END])
    session(server, first_token=9).complete("", Sampling())
    assert server.requests[0]["prompt"] == [9]
    nothing = END | {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    with pytest.raises(PromptRefusedError, match="no token to begin with"):
        session(FakeServer([nothing]), first_token=None).complete("", Sampling())


@pytest.mark.parametrize("limit", [0, -1])
def test_no_limit_is_not_a_limit(limit: int) -> None:
    with pytest.raises(ValueError, match="max_tokens"):
        session(FakeServer([END])).complete("x", Sampling(max_tokens=limit))


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(PromptRefusedError, match="not valid Unicode"):
        session(FakeServer([END])).complete("\ud83d", Sampling())


def test_errors_of_the_library() -> None:
    over = {"error": {"type": "exceed_context_size_error", "message": "too long"}}
    with pytest.raises(PromptRefusedError, match="too long"):
        session(FakeServer([over])).complete("x", Sampling())
    with pytest.raises(EngineFailedError, match="other"):
        session(FakeServer([{"error": {"message": "other"}}])).complete("x", Sampling())
    with pytest.raises(EngineFailedError, match="broke off"):
        session(FakeServer([piece("a")])).complete("x", Sampling())


def test_a_library_that_raises_has_failed() -> None:
    class Raising:
        def handle_completions(self, *_: object) -> None:
            raise RuntimeError("decode failed")  # noqa: EM101 - a stand-in

    with pytest.raises(EngineFailedError, match="decode failed"):
        session(Raising()).complete("x", Sampling())


def test_pieces_are_handed_on_and_an_exception_breaks_off() -> None:
    server = FakeServer([piece("a"), piece(""), piece("b"), END])
    told: list[str] = []
    answer = session(server).complete("x", Sampling(), on_text=told.append)
    assert told == ["a", "b"]
    assert answer.text == "ab"

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    server.reported = 0
    with pytest.raises(KeyboardInterrupt):
        session(server).complete("x", Sampling(), on_text=stop)
    assert server.reported == 1


def test_a_closed_session_answers_no_more() -> None:
    closed = session(FakeServer([END]))
    closed.close()
    closed.close()
    with pytest.raises(EngineFailedError, match="closed"):
        closed.complete("x", Sampling())
    with pytest.raises(EngineFailedError, match="closed"), closed.serve():
        pass


def test_a_model_that_loads_but_cannot_be_served_is_the_engines_failure() -> None:
    def start(**_: object) -> object:
        raise ModelLoadError("chat template parsing error")  # noqa: EM101 - a stand-in

    loaded = LlamaCppSession(
        start=start,
        server=FakeServer([END]),
        device=Device(backend=Backend.CPU, name="cpu", proof=""),
        context_length=64,
        template=PLAIN_TEMPLATE,
        bos="",
        first_token=None,
    )
    with pytest.raises(EngineFailedError, match="chat template parsing error"), loaded.serve():
        pass


def test_a_session_is_not_freed_while_requests_are_in_work() -> None:
    counts = iter([(1, 0), (0, 2), (0, 0), (1, 0), (0, 0), (0, 0)])

    class Busy(FakeServer):
        def handle_metrics(self) -> str:
            names = ("llamacpp:requests_processing", "llamacpp:requests_deferred")
            return "".join(
                f"# HELP {n} 9\n{n} {c}\n" for n, c in zip(names, next(counts), strict=True)
            )

    session(Busy([END])).close()
    assert next(counts, None) is None
