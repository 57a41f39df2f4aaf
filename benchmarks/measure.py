"""Measure what docs/performance.md states, and write its table.

    python benchmarks/measure.py [--write] [--runs N] [NAME ...]

Each figure is the median of several runs; comparisons run their two sides in turn and give the
ratio pair by pair, so that a change of the machine's speed touches both sides alike. Nothing here
is a test: timings belong to a machine.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from aprqa_ci.certification.steps import Surroundings
from aprqa_ci.execution.child import CellChild, Children
from aprqa_ci.execution.engines.interface import OptionValue, Sampling
from aprqa_ci.execution.engines.registry import configured, describe, engine_named, engine_names
from aprqa_ci.execution.formats.convert import (
    convert_gguf_to_safetensors,
    convert_safetensors_to_gguf,
)
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.protocol import Answered, Ask, Open, Opened
from aprqa_ci.execution.resolve import resolve_model
from aprqa_ci.planning.plan import PlannedModel
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat, SizeCategory

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "aprqa_ci" / "data" / "models" / "aprqa-tiny"
PAGE = ROOT / "docs" / "performance.md"
START, END = "<!-- MEASURED_START -->", "<!-- MEASURED_END -->"
Options = dict[str, OptionValue]
QUESTION = "Count from 1 to 20, separated by commas."
OPEN_SECONDS = 120.0
BUNDLED = {
    ModelFormat.GGUF: ModelFiles(
        format=ModelFormat.GGUF,
        quantization="q8_0",
        weights=(TINY / "aprqa-tiny-q8_0.gguf",),
        directory=TINY,
        source="local_path",
    ),
    ModelFormat.SAFETENSORS: ModelFiles(
        format=ModelFormat.SAFETENSORS,
        weights=(TINY / "model.safetensors",),
        directory=TINY,
        source="local_path",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    what: str
    goal: str
    found: str


def timed(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def command(*arguments: str) -> float:
    return timed(
        lambda: subprocess.run(
            [sys.executable, "-m", "aprqa_ci", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
        )
    )


def spread(values: list[float], scale: float = 1.0, unit: str = "s", digits: int = 2) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return (
        f"{middle * scale:.{digits}f} {unit} "
        f"({low * scale:.{digits}f} to {high * scale:.{digits}f})"
    )


def cold_start(runs: int) -> list[Row]:
    bare = [
        timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
        for _ in range(runs)
    ]
    values = [command("--help") for _ in range(runs)]
    return [
        Row(
            what="`aprqa --help`, a whole process",
            goal="≤ 0.25 s",
            found=f"{spread(values)}; an empty Python takes {spread(bare)}",
        )
    ]


def installation(runs: int) -> list[Row]:
    """What a step of the action waits for on a runner that has pip's cache and nothing of ours."""
    rows = []
    for name, lock in (("plan", "run.txt"), ("run", "hub.txt"), ("merge", "github.txt")):
        found = []
        for _ in range(min(runs, 3)):
            with tempfile.TemporaryDirectory() as scratch:
                environment = {**os.environ, "APRQA_VENVS": scratch, "INPUT_COMMAND": name}
                bootstrap = [sys.executable, "-I", "scripts/action/bootstrap.py", "--install-only"]
                installed = partial(subprocess.run, env=environment, cwd=ROOT, check=True)
                found.append(timed(partial(installed, bootstrap, stdout=subprocess.DEVNULL)))
        what = f"the action installs `requirements/{lock}`, packages in pip's cache"
        rows.append(Row(what=what, goal="", found=spread(found, digits=1)))
    return rows


def planning(runs: int) -> list[Row]:
    corpus = Path(os.environ.get("APRQA_CORPUS", ROOT.parent / "shared" / "corpus"))
    folder = corpus / "playbooks" / "models"
    if not folder.is_dir():
        folder = ROOT / "playbooks" / "models"
    with tempfile.TemporaryDirectory() as scratch:
        plan = Path(scratch) / "plan.json"
        values = [
            command("plan", str(folder), "--tier", "mvp", "-o", str(plan)) for _ in range(runs)
        ]
        made = msgspec.json.decode(plan.read_bytes())
    scenarios = sum(len(cell["scenarios"]) for cell in made["cells"])
    return [
        Row(
            what=f"`aprqa plan` of {len(made['playbooks'])} playbooks at mvp "
            f"({len(made['cells'])} cells, {scenarios} scenarios), a whole process",
            goal="≤ 1.5 s",
            found=spread(values),
        )
    ]


def overhead(runs: int) -> list[Row]:
    """Time from the engine's answer to the recorded scenario: pipe, oracles, record, journal."""
    with tempfile.TemporaryDirectory() as scratch:
        playbook = Path(scratch) / "overhead.playbook.yaml"
        playbook.write_text(
            "name: overhead-quick\nversion: 1.0.0\n"
            f"model: {{hf_repo: aprqa/aprqa-tiny, local_path: '{TINY}', formats: [gguf],"
            " quantizations: [q8_0], size_category: tiny, family: llama}\n"
            "test_matrix: {modalities: [run], backends: [cpu], scenario_count: 200, seed: 1}\n",
            encoding="utf-8",
        )
        values = []
        for number in range(runs):
            out = Path(scratch) / str(number)
            subprocess.run(
                [sys.executable, "-m", "aprqa_ci", "run", str(playbook), "-o", str(out)],
                check=False,
                stdout=subprocess.DEVNULL,
                cwd=scratch,
            )
            records = msgspec.json.decode((out / "overhead-quick" / "evidence.json").read_bytes())
            asked = [each for each in records if each["gate_id"].startswith("F-A")]
            first, last = asked[0]["timestamp"], asked[-1]["timestamp"]
            span = (seconds(last) - seconds(first)) * 1000
            engine = sum(each["metrics"]["duration_ms"] for each in asked[1:])
            values.append((span - engine) / (len(asked) - 1))
    return [
        Row(
            what="overhead per scenario beyond the engine: pipe, oracles, record, journal",
            goal="≤ 3 ms",
            found=spread(values, unit="ms"),
        )
    ]


def seconds(timestamp: str) -> float:
    clock = timestamp.partition("T")[2].rstrip("Z").split(":")
    return int(clock[0]) * 3600 + int(clock[1]) * 60 + float(clock[2])


class Asked:
    """A child with a model loaded, as a cell has it."""

    def __init__(
        self, engine: str, model: ModelFiles, threads: int, options: Options | None = None
    ) -> None:
        self._child = CellChild(environment=os.environ, threads=threads, children=Children())
        opened = self._child.request(
            Open(
                engine=engine,
                model=model,
                backend=Backend.CPU,
                modality=Modality.RUN,
                options=options or {},
            ),
            timeout_s=OPEN_SECONDS,
        )
        if not isinstance(opened, Opened):
            sys.exit(f"{engine} did not open {model.weights[0].name}: {opened}")

    def ask(self, max_tokens: int) -> Answered:
        """Ask the question of all measurements."""
        reply = self._child.request(
            Ask(
                turns=(QUESTION,),
                system=None,
                raw=False,
                sampling=Sampling(max_tokens=max_tokens),
                number=0,
            ),
            timeout_s=OPEN_SECONDS,
        )
        if not isinstance(reply, Answered):
            sys.exit(f"no answer: {reply}")
        return reply

    def close(self) -> None:
        """End the child."""
        self._child.close()


def smollm2() -> ModelFiles | None:
    world = Surroundings()
    try:
        return resolve_model(
            PlannedModel(
                hf_repo="HuggingFaceTB/SmolLM2-135M-Instruct",
                formats=(ModelFormat.GGUF,),
                size_category=SizeCategory.TINY,
            ),
            format=ModelFormat.GGUF,
            quantization="q4_1",
            environment=world.environment,
            home=world.home,
        )
    except Exception as error:  # noqa: BLE001 - said, and the row is left out
        print(f"left out, SmolLM2 is not here (make fetch-smollm2-135m): {error}", file=sys.stderr)
        return None


def loading(runs: int) -> list[Row]:
    model = smollm2()
    if model is None:
        return []
    prompts = 8
    ratios, once, each = [], [], []
    for _ in range(runs):

        def one_load() -> None:
            asked = Asked("llamacpp", model, threads=2)
            for _ in range(prompts):
                asked.ask(8)
            asked.close()

        def load_per_prompt() -> None:
            for _ in range(prompts):
                asked = Asked("llamacpp", model, threads=2)
                asked.ask(8)
                asked.close()

        once.append(timed(one_load))
        each.append(timed(load_per_prompt))
        ratios.append(each[-1] / once[-1])
    return [
        Row(
            what=f"SmolLM2-135M Q4_1, {prompts} answers of 8 tokens: one load per prompt against "
            "one load per cell",
            goal="",
            found=f"{spread(ratios, unit='times', digits=1)} as long: {spread(each)} against "
            f"{spread(once)}",
        )
    ]


@dataclass(frozen=True, kw_only=True)
class Told:
    """What an engine is told to be measured, and what the measurement does not show."""

    once: Options
    """To load the model once."""
    each: Options | None = None
    """To start a process for every prompt by itself; without it, the engine is opened anew."""
    note: str = ""


def told(name: str, scratch: Path) -> Told:
    """Return what lets an engine be measured that needs something beside it."""
    if name == "openai":
        server = str(ROOT / "tests" / "llama_server.py")
        command = (sys.executable, server, "{model}", "{port}")
        return Told(once={"command": command}, note="; the server is llama.cpp's, started by us")
    if name == "apr":
        here, per_prompt = shutil.which("apr"), {"server": False}
        if here:
            return Told(once={}, each={**per_prompt})
        # The tests' own; on the path only where this is run from a checkout.
        sys.path.insert(0, str(ROOT))
        from tests.apr_standin import write_standin  # noqa: PLC0415 - as said above

        binary = str(write_standin(scratch))
        note = "; a stand-in in Python for the tool: says nothing of the tool's own speed"
        return Told(once={"binary": binary}, each={"binary": binary, **per_prompt}, note=note)
    return Told(once={})


def engine_loading(runs: int) -> list[Row]:
    """One load per cell against one process per prompt, for each engine that is here."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = [
            engine_row(name, told(name, Path(scratch)), runs) for name in engine_names(lambda: ())
        ]
    return [row for row in rows if row is not None]


def engine_row(name: str, options: Told, runs: int) -> Row | None:
    prompts = 8
    info = describe(configured(engine_named(name), options.once))
    kinds = [each for each in info.formats if each in BUNDLED]
    if not info.available or not kinds:
        print(f"left out, engine {name} is not here: {info.reason}", file=sys.stderr)
        return None
    # What any GGUF server reads; the other engines have their first format.
    kind = ModelFormat.GGUF if name == "openai" else kinds[0]

    def answers(loads: int, given: Options) -> None:
        for _ in range(loads):
            asked = Asked(name, BUNDLED[kind], threads=1, options=given)
            for _ in range(prompts // loads):
                asked.ask(8)
            asked.close()

    ratios, once, each_time = [], [], []
    for _ in range(runs):
        once.append(timed(partial(answers, 1, options.once)))
        if options.each is None:
            each_time.append(timed(partial(answers, prompts, options.once)))
        else:
            each_time.append(timed(partial(answers, 1, options.each)))
        ratios.append(each_time[-1] / once[-1])
    return Row(
        what=f"bundled model, engine {name} ({kind}), {prompts} answers of 8 tokens: "
        f"one process per prompt against one load per cell{options.note}",
        goal="",
        found=f"{spread(ratios, unit='times', digits=1)} as long: {spread(each_time)} "
        f"against {spread(once)}",
    )


def throughput(runs: int) -> list[Row]:
    rows = []
    tiny_gguf, tiny_st = BUNDLED[ModelFormat.GGUF], BUNDLED[ModelFormat.SAFETENSORS]
    cases = [
        ("bundled model, GGUF Q8_0", "llamacpp", tiny_gguf),
        ("bundled model, GGUF Q8_0", "reference", tiny_gguf),
        ("bundled model, SafeTensors F16", "reference", tiny_st),
    ]
    model = smollm2()
    if model is not None:
        cases += [
            ("SmolLM2-135M, GGUF Q4_1", "llamacpp", model),
            ("SmolLM2-135M, GGUF Q4_1", "reference", model),
        ]
    for what, engine, files in cases:
        asked = Asked(engine, files, threads=1)
        asked.ask(32)
        rates = []
        for _ in range(runs):
            answer = asked.ask(32)
            rates.append(answer.completion_tokens / answer.duration_ms * 1000)
        asked.close()
        rows.append(
            Row(
                what=f"{what}, engine {engine}, 1 thread, prompt included",
                goal="",
                found=spread(rates, unit="tok/s", digits=0),
            )
        )
    return rows


def conversion(runs: int) -> list[Row]:
    """Convert SafeTensors to GGUF, against writing as many bytes to the same disk."""
    model = smollm2()
    if model is None:
        return []
    rows = []
    with tempfile.TemporaryDirectory(dir=Path.home()) as scratch:
        source, target = Path(scratch, "source"), Path(scratch, "model.gguf")
        convert_gguf_to_safetensors(model.weights[0], source, "f16")
        weights = (source / "model.safetensors").stat().st_size
        for name in ("f16", "bf16", "q8_0", "q4_0"):
            converted, written = [], []
            for _ in range(runs):
                converted.append(timed(partial(convert_safetensors_to_gguf, source, target, name)))
                written.append(timed(partial(write_through, Path(scratch, "plain"), target)))
            size = target.stat().st_size
            ratios = [one / other for one, other in zip(converted, written, strict=True)]
            speed = weights / statistics.median(converted) / 1e6
            rows.append(
                Row(
                    what=f"SmolLM2-135M, SafeTensors F16 ({weights / 1e6:.0f} MB) to GGUF {name} "
                    f"({size / 1e6:.0f} MB) against writing those bytes alone, flushed",
                    goal="",
                    found=f"{spread(ratios, unit='times', digits=1)} as long: "
                    f"{spread(converted)}, {speed:.0f} MB/s read",
                )
            )
    return rows


def write_through(target: Path, source: Path) -> None:
    with source.open("rb") as read, target.open("wb") as stream:
        shutil.copyfileobj(read, stream, 1 << 20)
        stream.flush()
        os.fsync(stream.fileno())


MEASUREMENTS = {
    "cold-start": cold_start,
    "installation": installation,
    "planning": planning,
    "overhead": overhead,
    "loading": loading,
    "engine-loading": engine_loading,
    "throughput": throughput,
    "conversion": conversion,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *MEASUREMENTS], metavar="NAME")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write the table of the page")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.names or MEASUREMENTS:
        rows += MEASUREMENTS[name](options.runs)
    lines = ["| what | goal | median (least to most) |", "|---|---|---|"]
    lines += [f"| {row.what} | {row.goal} | {row.found} |" for row in rows]
    machine = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, "
        f"Python {platform.python_version()}; median of {options.runs} runs"
    )
    table = "\n".join([machine, "", *lines])
    print(table)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        head, _, rest = page.partition(START)
        _, _, tail = rest.partition(END)
        PAGE.write_text(f"{head}{START}\n{table}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
