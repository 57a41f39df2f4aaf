"""Measure the oracles on the labelled answers of ``tests/data/oracles`` and keep the table current.

``python scripts/measure_oracles.py`` rewrites the table in ``docs/oracles.md``; with ``--check`` it
changes nothing and exits with 1 if the table is not current.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from aprqa_ci.execution.oracles.interface import OracleVerdict, Question
from aprqa_ci.execution.oracles.registry import build_oracle
from aprqa_ci.files import write_atomic
from aprqa_ci.planning.plan import OracleSpec

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data" / "oracles"
DOCUMENT = ROOT / "docs" / "oracles.md"
START, END = "<!-- ORACLE_TABLE_START -->", "<!-- ORACLE_TABLE_END -->"

VERDICTS = {
    "right": OracleVerdict.CORROBORATED,
    "wrong": OracleVerdict.FALSIFIED,
    "unchecked": OracleVerdict.NOT_APPLICABLE,
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One labelled answer."""

    spec: OracleSpec
    question: Question
    answer: str
    label: str
    """``right``, ``wrong`` or ``unchecked``."""


def read_cases(name: str) -> Iterator[Case]:
    """Yield the labelled answers of one set, ``known`` or ``fresh``, file by file."""
    for path in sorted((DATA / name).glob("*.yaml")):
        content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        for label, prompt, answer, *rest in content["cases"]:
            extra: dict[str, Any] = rest[0] if rest else {}
            config = {**content["config"], **extra.get("config", {})}
            yield Case(
                spec=OracleSpec(kind=content["oracle"], config=config),
                question=Question(prompt=prompt, raw=extra.get("raw", False)),
                answer=answer,
                label=label,
            )


def table() -> str:
    """Judge every case of both sets and return the table in Markdown."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for name in ("known", "fresh"):
        for case in read_cases(name):
            found = build_oracle(case.spec).judge(case.question, case.answer).verdict
            count = counts.setdefault((name, case.spec.kind), Counter())
            count[case.label] += 1
            count[f"{case.label}, found"] += found is VERDICTS[case.label]
    lines = [
        "| answers | oracle | wrong | sensitivity | right | specificity | unchecked |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for (name, kind), count in counts.items():
        shares = [_share(count[f"{label}, found"], count[label]) for label in ("wrong", "right")]
        unchecked = f"{count['unchecked, found']} of {count['unchecked']}"
        lines.append(
            f"| {name} | {kind} | {count['wrong']} | {shares[0]} |"
            f" {count['right']} | {shares[1]} | {unchecked} |"
        )
    return "\n".join(lines)


def _share(found: int, total: int) -> str:
    return f"{found / total:.1%}" if total else "–"


def updated(document: str) -> str:
    """Return the document with a current table."""
    before, start, rest = document.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        message = f"the markers {START} and {END} are missing"
        raise SystemExit(message)
    return f"{before}{start}\n{table()}\n{end}{after}"


def main(arguments: list[str]) -> int:
    document = DOCUMENT.read_text(encoding="utf-8")
    current = updated(document)
    if "--check" in arguments:
        return int(document != current)
    write_atomic(DOCUMENT, current.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
