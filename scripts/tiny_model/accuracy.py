"""How many of the suites' prompts a model answers right, by format, engine and suite.

Run from the repository's root::

    python -m scripts.tiny_model.accuracy aprqa_ci/data/models/aprqa-tiny --draws 100

The prompts, the engines and the oracles are those of a certification. Exits with 1 when a format
falls short of what the bundled model has to reach.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from aprqa_ci.execution.asking import Question, SessionAsker
from aprqa_ci.execution.engines.interface import Sampling, Session
from aprqa_ci.execution.engines.registry import engines
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.oracles.interface import OracleVerdict
from aprqa_ci.execution.oracles.interface import Question as OracleQuestion
from aprqa_ci.execution.oracles.registry import oracle_for
from aprqa_ci.planning.plan import OracleSpec, PromptCase
from aprqa_ci.planning.suites import draw_prompt, entries_for, load_suites
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat
from scripts.tiny_model.samples import is_held_out

GOALS = {"safetensors": 0.995, "f16": 0.995, "q8_0": 0.995, "q4_0": 0.98}
"""The least share of right answers by format."""


@dataclass(kw_only=True)
class Tally:
    """What one format answered on one engine."""

    asked: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, label: str, case: PromptCase, answer: str) -> None:
        """Judge one answer and count it."""
        question = OracleQuestion(prompt=case.turns[-1], history=case.turns[:-1], raw=case.raw)
        judgement = oracle_for(case.oracle).judge(question, answer)
        good = judgement.verdict is OracleVerdict.CORROBORATED
        self.asked[label] += 1
        self.right[label] += good
        if not good:
            self.wrong.append(f"{label} {case.turns} -> {answer!r}")

    def share(self) -> float:
        """Return the share of right answers, what was held out included."""
        return self.right.total() / self.asked.total()


def variants(directory: Path) -> Iterator[tuple[str, ModelFiles]]:
    """Return the files of each format in a model directory."""
    weights = [*directory.glob("*.safetensors"), *sorted(directory.glob("*.gguf"))]
    for path in weights:
        gguf = path.suffix == ".gguf"
        name = path.stem.rpartition("-")[2] if gguf else "safetensors"
        yield (
            name,
            ModelFiles(
                format=ModelFormat.GGUF if gguf else ModelFormat.SAFETENSORS,
                quantization=name if gguf else None,
                weights=(path,),
                directory=directory,
                source="local_path",
            ),
        )


def prompts(draws: int, seeds: list[int]) -> Iterator[tuple[str, PromptCase]]:
    """Return draws of every suite, seed and modality, none twice; then what was held out."""
    for name, suite in load_suites().items():
        for seed in seeds:
            for number, modality in enumerate(Modality):
                count = max(len(entries_for(suite, modality)), draws // len(Modality))
                for index in range(number * count, (number + 1) * count):
                    yield name, draw_prompt(suite, index, seed=seed, modality=modality).case
    for left, right in product(range(50), repeat=2):
        if is_held_out(left, right):
            for sign in ("+", "-") if left >= right else ("+",):
                yield (
                    "held out",
                    PromptCase(
                        turns=(f"What is {left} {sign} {right}?",),
                        oracle=OracleSpec(kind="arithmetic"),
                    ),
                )


def measure(session: Session, draws: int, seeds: list[int]) -> Tally:
    """Ask everything and judge it."""
    tally = Tally()
    asker = SessionAsker(session)
    for label, case in prompts(draws, seeds):
        sampling = Sampling(
            max_tokens=case.max_tokens, temperature=case.temperature, seed=case.seed
        )
        question = Question(turns=case.turns, system=case.system, raw=case.raw, sampling=sampling)
        tally.note(label, case, asker.ask(question).text)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="the model's directory")
    parser.add_argument("--draws", type=int, default=100, help="prompts per suite and seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42], help="of the draws")
    parser.add_argument("--engine", help="only this engine")
    arguments = parser.parse_args()
    short = False
    for format_name, files in variants(arguments.directory):
        for engine in engines().values():
            if files.format not in engine.info().formats or arguments.engine not in {
                None,
                engine.name,
            }:
                continue
            session = engine.open(files, Backend.CPU)
            try:
                tally = measure(session, arguments.draws, arguments.seeds)
            finally:
                session.close()
            figures = "  ".join(
                f"{name} {tally.right[name]}/{n}" for name, n in tally.asked.items()
            )
            print(f"{format_name} on {engine.name}: {tally.share():.2%}  {figures}")
            for line in tally.wrong:
                print(f"    {line}")
            short |= tally.share() < GOALS[format_name]
    sys.exit(1 if short else 0)


if __name__ == "__main__":
    main()
