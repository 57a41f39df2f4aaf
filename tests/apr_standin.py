"""Stands in for the ``apr`` tool: its commands, exit codes and outputs, in recorded shapes.

The answers are the reference engine's, so they are right; the banners, figures and errors around
them are our own words in the shapes that the tool's real outputs have. It shows what the adapter
makes of them. It does not show that a given version of the tool has these shapes, commands and
routes, nor anything of its speed, its devices or its reading of files.

What it does is told by ``APR_STANDIN``, a JSON object; see :class:`Behaviour`.
"""

import json
import os
import shlex
import signal
import sys
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["Behaviour", "write_standin"]

CYAN, GREEN, END = "\x1b[1;36m", "\x1b[32m", "\x1b[0m"
COMMANDS = ("run", "serve", "chat", "inspect", "validate", "rosetta", "profile", "pull")


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What the stand-in does."""

    version: str = "apr 0.4.99 (5ca1ab1e)"
    commands: tuple[str, ...] = COMMANDS
    answers: str = "json"
    """How ``run`` shows an answer: ``json``, ``output`` or ``figures``."""
    routes: tuple[str, ...] = ("/v1/completions", "/v1/chat/completions")
    shape: str = "own"
    """Of ``/v1/completions`` and ``/generate``: ``own``, ``together`` (prompt and answer as one) or
    ``openai``."""
    health: str = '{"status": "healthy"}'
    source: str = ""
    """The file that it says it runs, when it is not the one that it was given."""
    stderr: str = ""
    """What every ``run`` and ``serve`` writes to its errors first."""
    exit: int = 0
    """The exit code of every command; minus a signal's number to die by it."""
    after: int = 0
    """The answers that come before that."""
    busy: int = 0
    """How many times ``serve`` finds its port taken, counted in the file ``busy`` beside it."""
    stubborn: bool = False
    """Whether it ignores a polite end."""
    child: bool = False
    """Whether it starts a process of its own that never ends."""
    models: tuple[str, ...] = ()
    """What ``/v1/models`` lists; no request is answered then that does not name the first."""
    convert: str = ""
    """How ``rosetta convert`` converts; see ``apr_standin_files.CONVERSIONS``."""
    inspect: dict[str, Any] = field(default_factory=dict)
    """What ``rosetta inspect`` says instead of what is so."""
    profile: dict[str, Any] = field(
        default_factory=lambda: {"throughput_tps": 1e6, "latency_p50_ms": 0.1, "passed": True}
    )
    """What ``profile`` reports."""
    hub: str = ""
    """The directory that ``pull`` takes repositories from."""
    pulled: str = "safetensors"
    """The suffix of the file that it names."""
    validate: str = ""
    """What ``validate`` says, if not what it finds: ``silent``, ``none``, ``vague``, ``fewer``,
    ``unnamed`` or ``other``."""
    extra: dict[str, Any] = field(default_factory=dict)
    """More keys of its replies."""


def write_standin(directory: Path, **behaviour: object) -> Path:
    """Write an executable ``apr`` with that behaviour and return its path."""
    path = directory / "apr"
    path.write_text(
        "#!/bin/sh\n"
        f"export APR_STANDIN={shlex.quote(json.dumps(behaviour))}\n"
        f"export PYTHONPATH={shlex.quote(os.pathsep.join(filter(None, sys.path)))}\n"
        f'exec {shlex.quote(sys.executable)} -P {shlex.quote(__file__)} "$@"\n'
    )
    path.chmod(0o755)
    return path


def main(arguments: list[str]) -> int:
    behaviour = Behaviour(**json.loads(os.environ["APR_STANDIN"]))
    command, rest = arguments[0], arguments[1:]
    if command == "--version":
        print(behaviour.version)  # noqa: T201 - its output
        return 0
    if command == "--help":
        listed = "\n".join(f"  {name:<10} Words about {name}" for name in behaviour.commands)
        print(f"A tool\n\nUsage: apr <COMMAND>\n\nCommands:\n{listed}")  # noqa: T201 - its output
        return 0
    if command not in behaviour.commands:
        sys.stderr.write(f"error: unrecognized subcommand '{command}'\n")
        return 2
    record = os.environ.get("APR_STANDIN_RECORD")
    if record:
        with Path(record).open("a", encoding="utf-8") as file:
            kept = ("HOME", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE")
            seen = {name: os.environ.get(name) for name in kept}
            file.write(json.dumps({"arguments": arguments, "environment": seen}) + "\n")
    sys.stderr.write(behaviour.stderr)
    sys.stderr.flush()
    if behaviour.exit and not behaviour.after:
        die(behaviour.exit)
    from tests.apr_standin_files import profile, pull, rosetta, validate

    commands = {
        "run": run,
        "serve": serve,
        "rosetta": rosetta,
        "validate": validate,
        "pull": pull,
        "profile": profile,
    }
    return commands[command](behaviour, rest)


def die(code: int) -> None:
    sys.stderr.flush()
    if code < 0:
        os.kill(os.getpid(), -code)
        time.sleep(60)
    os._exit(code)


def load(path: Path) -> Any:
    # Only here, so that it says quickly who it is.
    from aprqa_ci.execution.engines.reference.engine import ReferenceEngine
    from aprqa_ci.execution.model_files import ModelFiles
    from aprqa_ci.vocabulary import Backend, ModelFormat

    kind = ModelFormat.GGUF if path.suffix == ".gguf" else ModelFormat.SAFETENSORS
    weights = (path,)
    if path.suffix == ".json":
        names = json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()
        weights = tuple(path.parent / name for name in sorted(set(names)))
    files = ModelFiles(format=kind, weights=weights, directory=path.parent, source="local_path")
    try:
        return ReferenceEngine().open(files, Backend.CPU)
    except Exception as error:  # noqa: BLE001 - whatever is wrong, the tool says so this way
        sys.stderr.write(f"error: Invalid APR format: {error}\n")
        sys.stderr.flush()
        os._exit(4)


def run(behaviour: Behaviour, rest: list[str]) -> int:
    model, options = Path(rest[0]), rest[1:]
    from aprqa_ci.execution.engines.interface import Message, Sampling

    session = load(model)
    prompt = options[options.index("-p") + 1]
    sampling = Sampling(max_tokens=int(options[options.index("--max-tokens") + 1]))
    answer = session.complete(session.render([Message(role="user", content=prompt)]), sampling)
    shown = [f"{CYAN}=== APR Run ==={END}", "", f"Source: {behaviour.source or model}", ""]
    match "figures" if "--benchmark" in options else behaviour.answers:
        case "figures":
            shown += [f"{CYAN}=== Benchmark Results ==={END}", "tok/s: 9.5"]
            shown += [f"tokens: {answer.completion_tokens}", "latency: 12.50ms", f"model: {model}"]
        case "output":
            shown += [f"{GREEN}Output:{END}", answer.text, "", "Completed in 0.12s (cached)"]
        case _:
            figures = {"tokens_generated": answer.completion_tokens, "tok_per_sec": 9.5}
            shown += [json.dumps({"text": answer.text} | figures | behaviour.extra)]
    print("\n".join(shown))  # noqa: T201 - its output
    if behaviour.answers == "output":
        count = answer.completion_tokens
        sys.stderr.write(f"{GREEN}Generated {count} tokens in 10.5ms (95.2 tok/s){END}\n")
    return 0


class Handler(BaseHTTPRequestHandler):
    """The routes of ``apr serve``."""

    behaviour: Behaviour
    session: Any
    answered = 0

    def do_GET(self) -> None:
        if self.path == "/v1/models" and self.behaviour.models:
            listed = [{"id": name, "object": "model"} for name in self.behaviour.models]
            self.reply(200, json.dumps({"object": "list", "data": listed}))
            return
        self.reply(200 if self.path == "/health" else 404, self.behaviour.health)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path not in self.behaviour.routes:
            self.reply(404, "")
            return
        asked: Any = None
        try:
            asked = json.loads(body)
            kinds = {"prompt": str, "messages": list}
            sound = any(isinstance(asked.get(name), kind) for name, kind in kinds.items())
        except (ValueError, AttributeError):
            sound = False
        if not sound:
            self.reply(422, "missing field")
            return
        if self.behaviour.models and asked.get("model") != self.behaviour.models[0]:
            self.reply(404, json.dumps({"error": {"message": "no such model"}}))
            return
        if self.behaviour.exit and Handler.answered >= self.behaviour.after:
            die(self.behaviour.exit)
        Handler.answered += 1
        from aprqa_ci.execution.engines.interface import PromptRefusedError

        try:
            self.send(self.answer(asked), stream=asked.get("stream", False))
        except PromptRefusedError as error:
            refusal = {"message": str(error), "code": "context_length_exceeded"}
            self.reply(400, json.dumps({"error": refusal}))

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        from aprqa_ci.execution.engines.interface import Message, Sampling

        talked = [Message(**each) for each in asked.get("messages", ())]
        prompt = self.session.render(talked) if talked else asked["prompt"]
        sampling = Sampling(
            max_tokens=asked["max_tokens"],
            temperature=asked.get("temperature", 0.0),
            seed=asked.get("seed", 0),
        )
        found = self.session.complete(prompt, sampling)
        usage = {
            "prompt_tokens": found.prompt_tokens,
            "completion_tokens": found.completion_tokens,
        }
        # The tool says "stop" of every answer.
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if talked:
            said = {"role": "assistant", "content": found.text}
            return {"choices": [choice | {"message": said}], "usage": usage}
        match self.behaviour.shape:
            case "openai":
                return {"choices": [choice | {"text": found.text}], "usage": usage}
            case "together":
                return {"token_ids": [1, 2, 3], "text": prompt + found.text}
            case _:
                return {
                    "text": found.text,
                    "tokens_generated": found.completion_tokens,
                    "latency_ms": 12,
                    "tok_per_sec": 9.5,
                } | self.behaviour.extra

    def send(self, found: dict[str, Any], *, stream: bool) -> None:
        if not stream or self.behaviour.shape != "openai":
            self.reply(200, json.dumps(found))
            return
        (choice,) = found["choices"]
        delta = {"delta": choice["message"]} if "message" in choice else {"text": choice["text"]}
        chunks = [
            {"choices": [{"index": 0, "finish_reason": None} | delta]},
            {"choices": [{"index": 0, "finish_reason": choice["finish_reason"], "delta": {}}]},
            {"choices": [], "usage": found["usage"]},
        ]
        events = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        self.reply(200, "".join([*events, "data: [DONE]\n\n"]))

    def reply(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve(behaviour: Behaviour, rest: list[str]) -> int:
    if behaviour.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour.child and os.fork() == 0:
        # Out of sight of all that waits for the server's outputs.
        while True:
            time.sleep(60)
    counter = Path(os.environ.get("APR_STANDIN_RECORD", "/nowhere")).with_name("busy")
    if behaviour.busy:
        tried = len(counter.read_text()) if counter.exists() else 0
        counter.write_text("x" * (tried + 1))
        if tried < behaviour.busy:
            sys.stderr.write("error: Inference failed: Failed to bind: Address already in use\n")
            return 8
    Handler.behaviour = behaviour
    Handler.session = load(Path(rest[0]))
    port = int(rest[rest.index("--port") + 1])
    print(f"{GREEN}Server listening on http://127.0.0.1:{port}{END}", flush=True)  # noqa: T201 - its output
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
