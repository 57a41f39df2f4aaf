"""Every labelled answer of ``tests/data/oracles``, and the table that is made of them."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.oracles.registry import build_oracle, oracle_names

ROOT = Path(__file__).resolve().parents[4]


def _load_script() -> Any:
    path = ROOT / "scripts" / "measure_oracles.py"
    spec = importlib.util.spec_from_file_location("measure_oracles", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


measure = _load_script()
KNOWN = list(measure.read_cases("known"))


@pytest.mark.parametrize("case", KNOWN, ids=lambda case: f"{case.spec.kind}-{case.answer[:20]!r}")
def test_known_answers_are_judged_as_labelled(case: Any) -> None:
    found = build_oracle(case.spec).judge(case.question, case.answer)
    assert found.verdict is measure.VERDICTS[case.label], found.reason
    assert found.reason


def test_every_oracle_has_right_and_wrong_answers() -> None:
    labels = {(case.spec.kind, case.label) for case in KNOWN}
    for name in oracle_names():
        assert {(name, "right"), (name, "wrong")} <= labels


def test_the_table_in_the_documentation_is_current(tmp_path: Path) -> None:
    assert measure.main(["--check"]) == 0, "run python scripts/measure_oracles.py"
    stale = measure.DOCUMENT.read_text(encoding="utf-8").replace("| known |", "| old |")
    measure.DOCUMENT, kept = tmp_path / "oracles.md", measure.DOCUMENT
    try:
        measure.DOCUMENT.write_text(stale, encoding="utf-8")
        assert measure.main(["--check"]) == 1
        assert measure.main([]) == 0
        assert measure.DOCUMENT.read_bytes() == kept.read_bytes()
        with pytest.raises(SystemExit, match="markers"):
            measure.updated("no table here")
    finally:
        measure.DOCUMENT = kept


def test_every_oracle_has_a_section_in_the_documentation() -> None:
    sections = {
        line[3:]
        for line in measure.DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("## ")
    }
    assert set(oracle_names()) <= sections
