"""The apr engine on a stand-in for the tool (apr_standin.py says what that does not prove)."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.data_files import bundled_model
from aprqa_ci.errors import InputError
from aprqa_ci.execution.asking import Question, asker_for
from aprqa_ci.execution.child import CellChild, ChildDiedError, Children
from aprqa_ci.execution.engines.apr import AprEngine
from aprqa_ci.execution.engines.apr_process import AprTimeoutError, run_apr
from aprqa_ci.execution.engines.conformance import CheckState, check_engine
from aprqa_ci.execution.engines.interface import (
    Capability,
    ConversingSession,
    DescribedSession,
    EngineAbsentError,
    EngineFailedError,
    Message,
    ModelLoadError,
    NotOfferedError,
    PromptRefusedError,
    Sampling,
    Session,
)
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.protocol import Ask, Open, Opened
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat
from tests.apr_standin import COMMANDS, write_standin
from tests.processes import alive, children_of, until

SAFETENSORS = ModelFiles(
    format=ModelFormat.SAFETENSORS,
    weights=(bundled_model() / "model.safetensors",),
    directory=bundled_model(),
    source="local_path",
)
GGUF = ModelFiles(
    format=ModelFormat.GGUF,
    weights=(bundled_model() / "aprqa-tiny-q8_0.gguf",),
    directory=bundled_model(),
    source="local_path",
)
SUM = [Message(role="user", content="What is 37 + 45?")]
CPU, GPU = Backend.CPU, Backend.GPU
UNSERVED = tuple(name for name in COMMANDS if name != "serve")


class Crashed(BaseException):
    """What a test does instead of ending its own process."""


def crashed(returncode: int) -> None:
    raise Crashed(returncode)


Make = Callable[..., AprEngine]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


@pytest.fixture
def make(tmp_path: Path, record: Path) -> Make:
    """Makes the engine with a stand-in of that behaviour, and options of the engine."""

    def made(*, engine: dict[str, Any] | None = None, **behaviour: object) -> AprEngine:
        path = write_standin(tmp_path, **behaviour)
        environment = {**os.environ, "APR_STANDIN_RECORD": str(record)}
        given: dict[str, Any] = {"run_command": lambda _: None, "crash": crashed, "ready_s": 20.0}
        return AprEngine(environment=environment, binary=str(path), **(given | (engine or {})))

    return made


@pytest.fixture
def opened(make: Make) -> Iterator[Callable[..., Session]]:
    sessions: list[Session] = []

    def open_model(model: ModelFiles = SAFETENSORS, **behaviour: object) -> Session:
        sessions.append(make(**behaviour).open(model, CPU))
        return sessions[-1]

    yield open_model
    for session in sessions:
        session.close()


def ask(session: Session, messages: list[Message] = SUM, **sampling: Any) -> str:
    settings = Sampling(**sampling)
    if isinstance(session, ConversingSession):
        return session.converse(messages, settings).text
    return session.complete(session.render(messages), settings).text


def recorded(record: Path, command: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    return [line for line in lines if line["arguments"][0] == command]


def test_a_session_holds_one_server(opened: Callable[..., Session], record: Path) -> None:
    session = opened()
    assert ask(session) == "82"
    answer = session.complete(session.render(SUM), Sampling())
    assert (answer.completion_tokens, answer.prompt_tokens, answer.finish) == (2, 18, "stop")
    served = recorded(record, "serve")
    assert len(served) == 1
    assert recorded(record, "run") == []
    assert served[0]["arguments"][-1] == "--no-gpu"
    assert served[0]["environment"]["CUDA_VISIBLE_DEVICES"] == ""
    home = Path(served[0]["environment"]["HOME"])
    assert home.is_dir()
    assert "one server for all prompts; routes /v1/chat/completions" in session.invocation  # type: ignore[attr-defined] # a DescribedSession
    session.close()
    session.close()
    assert not home.exists()
    with pytest.raises(EngineFailedError, match="closed"):
        ask(session)


@pytest.mark.parametrize(
    ("model", "shape"), [(SAFETENSORS, "own"), (GGUF, "together"), (GGUF, "openai")]
)
def test_every_shape_of_reply(
    opened: Callable[..., Session], model: ModelFiles, shape: str
) -> None:
    session = opened(model, routes=("/generate",), shape=shape) if shape == "together" else None
    session = session or opened(model, shape=shape)
    answer = session.complete(session.render(SUM), Sampling())
    assert (answer.text, answer.completion_tokens) == ("82", 2)
    if shape != "together":
        # There, the tokens of an answer are not counted by the tool.
        assert session.complete("Count", Sampling(max_tokens=3)).finish == "length"
    stopped = session.complete(session.render(SUM), Sampling(stop=("2",)))
    assert (stopped.text, stopped.finish) == ("8", "stop")


def test_without_a_raw_route_the_server_renders(opened: Callable[..., Session]) -> None:
    session = opened(routes=("/v1/chat/completions",))
    assert isinstance(session, ConversingSession)
    assert ask(session) == "82"
    with pytest.raises(NotOfferedError, match="none of /v1/completions"):
        session.complete("x", Sampling())


@pytest.mark.parametrize("answers", ["json", "output"])
def test_without_a_server_each_prompt_is_a_process(
    opened: Callable[..., Session], record: Path, answers: str
) -> None:
    session = opened(commands=UNSERVED, answers=answers)
    assert ask(session) == "82"
    assert ask(session) == "82"
    runs = recorded(record, "run")
    # The first one shows that the model can be loaded.
    assert len(runs) == 3
    assert "--benchmark" not in runs[0]["arguments"]
    assert "one process per prompt, for this apr has no command serve" in session.invocation  # type: ignore[attr-defined] # a DescribedSession
    assert "no seed, no temperature" in session.invocation  # type: ignore[attr-defined] # as above
    with pytest.raises(NotOfferedError, match="temperature"):
        ask(session, temperature=0.7)
    with pytest.raises(NotOfferedError, match="system message"):
        ask(session, [Message(role="system", content="x"), *SUM])
    with pytest.raises(NotOfferedError, match="raw text"):
        session.complete("x", Sampling())
    with pytest.raises(NotOfferedError, match="renders"):
        session.render(SUM)
    with pytest.raises(NotOfferedError, match="no usable server"):
        session.serve()
    with pytest.raises(PromptRefusedError, match="context 512"):
        ask(session, [Message(role="user", content="1" * 600)])


def test_figures_are_never_judged(make: Make) -> None:
    with pytest.raises(NotOfferedError, match="figures and no text"):
        make(commands=UNSERVED, answers="figures").open(SAFETENSORS, CPU)


@pytest.mark.parametrize(
    ("behaviour", "lack"),
    [
        ({"health": '{"status": "unhealthy"}'}, "not ready within 1 s"),
        ({"routes": ()}, "no route that answers"),
    ],
)
def test_a_server_that_cannot_be_used_is_named(
    make: Make, behaviour: dict[str, Any], lack: str
) -> None:
    session = make(engine={"ready_s": 1.0}, **behaviour).open(SAFETENSORS, CPU)
    assert lack in session.invocation
    assert ask(session) == "82"
    session.close()


def test_a_port_that_was_taken_is_tried_again(opened: Callable[..., Session], record: Path) -> None:
    assert ask(opened(busy=2)) == "82"
    assert len(recorded(record, "serve")) == 3


def test_what_the_tool_says_of_a_bad_file_is_quoted(make: Make, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(bundled_model(), bad, ignore=shutil.ignore_patterns("*.gguf"))
    (bad / "model.safetensors").write_bytes(b"x" * 100)
    model = ModelFiles(
        format=ModelFormat.SAFETENSORS,
        weights=(bad / "model.safetensors",),
        directory=bad,
        source="local_path",
    )
    for commands in (COMMANDS, UNSERVED):
        with pytest.raises(ModelLoadError, match="Invalid APR format"):
            make(commands=commands).open(model, CPU)
    (bad / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match="is not there"):
        make().open(model, CPU)


@pytest.mark.parametrize(
    ("code", "stderr", "kind"),
    [
        (8, "error: Inference failed: no tensor", ModelLoadError),
        (9, "error: Feature not enabled: inference", EngineAbsentError),
        (-signal.SIGSEGV, "", Crashed),
        (-signal.SIGABRT, "memory allocation of 99 bytes failed", MemoryError),
    ],
)
@pytest.mark.parametrize("commands", [COMMANDS, UNSERVED])
def test_whose_fault_a_failed_load_is(
    make: Make, commands: tuple[str, ...], code: int, stderr: str, kind: type[BaseException]
) -> None:
    with pytest.raises(kind):
        make(commands=commands, exit=code, stderr=stderr + "\n").open(SAFETENSORS, CPU)


def test_a_server_that_dies_takes_the_session_with_it(opened: Callable[..., Session]) -> None:
    session = opened(exit=101, after=1)
    assert ask(session) == "82"
    with pytest.raises(Crashed, match="101"):
        ask(session)


def test_an_answer_from_elsewhere_is_refused(make: Make) -> None:
    with pytest.raises(EngineAbsentError, match=r"ran /other\.gguf and not"):
        make(commands=UNSERVED, source="/other.gguf").open(SAFETENSORS, CPU)
    note = "Loaded tokenizer from HuggingFace cache: /h/tokenizer.json (9 tokens)\n"
    with pytest.raises(EngineAbsentError, match="tokenizer of another model"):
        make(commands=UNSERVED, stderr=note).open(SAFETENSORS, CPU)


def test_a_full_context_is_refused(opened: Callable[..., Session]) -> None:
    with pytest.raises(PromptRefusedError):
        opened().complete("1" * 512, Sampling())
    with pytest.raises(PromptRefusedError, match="Unicode"):
        opened().complete("\ud800", Sampling())


def test_serving_needs_replies_as_openai_makes_them(opened: Callable[..., Session]) -> None:
    with opened(shape="openai").serve() as served:
        assert served.base_url.startswith("http://127.0.0.1:")
    with pytest.raises(NotOfferedError, match="not answer as OpenAI's"), opened().serve():
        pass


def test_a_server_that_insists_on_its_models_name_is_told_it(
    opened: Callable[..., Session],
) -> None:
    session = opened(shape="openai", models=("tiny-model",))
    assert ask(session) == "82"
    with ExitStack() as stack:
        asker = asker_for(session, Modality.SERVE, stack)
        question = Question(turns=(SUM[0].content,), sampling=Sampling())
        assert asker.ask(question).text == "82"


def test_a_server_with_several_models_is_none_to_rely_on(opened: Callable[..., Session]) -> None:
    session = opened(shape="openai", models=("tiny-model", "another"))
    assert isinstance(session, DescribedSession)
    assert "has 2 models" in session.invocation
    assert ask(session) == "82"


def test_another_program_of_that_name_is_not_the_tool(make: Make, tmp_path: Path) -> None:
    for engine, said in (
        (make(version="apache-apr 1.7"), "not the apr tool"),
        (make(commands=("run", "build")), "no command inspect, rosetta, validate"),
        (AprEngine(environment={"PATH": str(tmp_path / "no")}), "no program 'apr' on the PATH"),
    ):
        info = engine.info()
        assert not info.available
        assert said in info.reason
        assert "`aprender` is something else" in info.how_to_get
        with pytest.raises(EngineAbsentError, match="cargo install apr-cli"):
            engine.open(SAFETENSORS, CPU)


def test_what_the_engine_promises(make: Make) -> None:
    info = make().info()
    assert (info.available, info.version, info.backends) == (True, "0.4.99", (CPU,))
    assert not {Capability.SEED, Capability.TEMPERATURE} & set(info.capabilities)
    assert Capability.SERVE not in make(commands=UNSERVED).info().capabilities
    assert make().invocation(GGUF, CPU).endswith("--port 0 --no-gpu")


def test_options_are_checked() -> None:
    engine = AprEngine().with_options({"binary": "/x/apr", "server": False, "ready_seconds": 5})
    assert "/x/apr" in engine.info().reason
    assert engine.secrets() == ()
    with pytest.raises(InputError) as caught:
        engine.with_options({"binary": "", "server": 1, "ready_seconds": 0, "binari": "x"})
    assert len(caught.value.problems) == 4


def smi(*free: int) -> Callable[[Any], str]:
    """A driver that reports so much memory as free, one value a look, the last one for ever."""
    left = list(free)

    def run(command: Any) -> str:
        if "--query-gpu=index,uuid,memory.total,memory.free" not in command:
            return "GPU-a, 1, another\n"
        return f"0, GPU-a, 1000, {left.pop(0) if len(left) > 1 else left[0]}\n"

    return run


def test_a_gpu_is_proven_by_the_driver_or_is_not(make: Make) -> None:
    with pytest.raises(EngineAbsentError, match="no NVIDIA driver"):
        make().open(SAFETENSORS, GPU)
    session = make(engine={"run_command": smi(500)}).open(SAFETENSORS, GPU)
    assert not session.device.proven
    assert "lists no GPU that process" in session.device.proof
    session.close()
    taken = make(engine={"run_command": smi(500, 500, 400)})
    session = taken.open(SAFETENSORS, GPU)
    assert session.device.proven
    assert "took 100 MiB of the memory of GPU-a" in session.device.proof
    session.close()
    unserved = make(engine={"run_command": smi(500)}, commands=UNSERVED)
    session = unserved.open(SAFETENSORS, GPU)
    assert not session.device.proven
    session.close()


def test_a_crash_of_the_tool_is_the_crash_of_the_cells_process(tmp_path: Path) -> None:
    path = write_standin(tmp_path, exit=-signal.SIGSEGV, after=1, stderr="a last word\n")
    request = Open(
        engine="apr",
        model=SAFETENSORS,
        backend=CPU,
        modality=Modality.RUN,
        options={"binary": str(path)},
    )
    question = Ask(turns=(SUM[0].content,), system=None, raw=False, sampling=Sampling(), number=0)
    with CellChild(environment=os.environ, threads=1, children=Children()) as child:
        reply = child.request(request, timeout_s=60)
        assert isinstance(reply, Opened)
        assert "one server for all prompts" in reply.invocation
        child.request(question, timeout_s=60)
        with pytest.raises(ChildDiedError, match="SIGSEGV") as caught:
            child.request(question, timeout_s=60)
    assert caught.value.returncode == -signal.SIGSEGV
    assert "a last word" in caught.value.stderr


def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    path = write_standin(tmp_path, stubborn=True)
    request = Open(
        engine="apr",
        model=SAFETENSORS,
        backend=CPU,
        modality=Modality.RUN,
        options={"binary": str(path)},
    )
    with CellChild(environment=os.environ, threads=1, children=Children()) as child:
        child.request(request, timeout_s=60)
        (server,) = children_of(child.pid)
        child.kill()
        assert until(lambda: not alive(server))


def test_a_command_has_limits(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\nsleep 60 &\necho $!\n[ $1 = hang ] && sleep 60\ncat\n")
    tool.chmod(0o755)
    given = {"environment": os.environ, "stdin": "said"}
    done = run_apr(tool, ("end",), timeout_s=20, **given)  # type: ignore[arg-type] # as declared
    pid, said = done.stdout.split("\n")
    assert said == "said"
    assert until(lambda: not alive(int(pid)))
    with pytest.raises(AprTimeoutError, match=r"within 0\.3 s"):
        run_apr(tool, ("hang",), timeout_s=0.3, **given)  # type: ignore[arg-type] # as declared


def test_it_keeps_what_it_promises(tmp_path: Path) -> None:
    path = write_standin(tmp_path, shape="openai")
    report = check_engine(
        "apr",
        GGUF,
        CPU,
        options={"binary": str(path)},
        environment=dict(os.environ),
        truth_files=GGUF,
    )
    states = {each.check: (each.state, each.reason) for each in report.results}
    bad = {name: state for name, state in states.items() if state[0] is CheckState.FAILED}
    assert bad == {}
