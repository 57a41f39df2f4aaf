"""The prompts that a playbook's property tests draw: bounded, and from the seed."""

import hashlib
import random
from collections.abc import Iterator
from itertools import count

import msgspec

from aprqa_ci.planning.oracle_choice import PARSED_LANGUAGES
from aprqa_ci.planning.plan import OracleSpec, PromptCase
from aprqa_ci.planning.suites import draw_prompt, load_suites
from aprqa_ci.playbook.declared import PropertyTest
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.playbook.properties import Generator, property_oracle, read_generator
from aprqa_ci.vocabulary import Modality

__all__ = ["PropertyPrompts", "properties_not_run", "property_label"]

_MAX_TOKENS = 64
_SEED_LIMIT = 1 << 31
_CODE_LANGUAGE = PARSED_LANGUAGES[0]
"""The language that the code suite asks for."""
_MOST_PASSED_OVER = 64
"""A suite that has no fitting prompt among so many has none."""


def property_label(name: str) -> str:
    """Return what stands as the suite of a property's prompts."""
    return f"property_tests#{name}"


class PropertyPrompts:
    """Deals the prompts of all properties over the cells, in turn."""

    def __init__(self, playbook: Playbook, cells: int) -> None:
        self._seed = playbook.test_matrix.seed
        self._cells = cells
        self._tests = [(test, _count(playbook, test)) for test in _tests(playbook)]

    def of_cell(self, index: int, modality: Modality) -> Iterator[PromptCase]:
        """Return the prompts of one cell, by its place among the playbook's cells."""
        for test, number in self._tests:
            generator, oracle = read_generator(test.generator), property_oracle(test.oracle)
            if not _testable(generator, oracle):
                continue
            for case in range(index, number, self._cells):
                drawn = self._draw(test.name, generator, oracle, case, modality)
                if drawn is not None:
                    yield msgspec.structs.replace(drawn, suite=property_label(test.name))

    def _draw(
        self, name: str, generator: Generator, oracle: str, case: int, modality: Modality
    ) -> PromptCase | None:
        if not generator.suites:
            drawn: PromptCase | None = self._arithmetic(name, generator, case)
        else:
            drawn = self._from_suites(generator, oracle, case, modality)
        if drawn is None or oracle in {"own", "code_syntax"}:
            return drawn
        return msgspec.structs.replace(drawn, oracle=OracleSpec(kind=oracle))

    def _arithmetic(self, name: str, generator: Generator, case: int) -> PromptCase:
        source = _source(f"{name}#{case}!{self._seed}")
        left, right = (source.randint(*bounds) for bounds in generator.operands)
        sign = source.choice(generator.operators)
        if sign == "/":
            # A quotient that is a whole number, and never a division by zero.
            right = right or 1
            left *= right
        return PromptCase(
            turns=(f"What is {left} {sign} {right}?",),
            oracle=OracleSpec(kind="arithmetic"),
            max_tokens=_MAX_TOKENS,
            seed=source.randrange(_SEED_LIMIT),
        )

    def _from_suites(
        self, generator: Generator, oracle: str, case: int, modality: Modality
    ) -> PromptCase | None:
        suites = [load_suites()[name] for name in generator.suites]
        fitting = [suite for suite in suites if suite.has(modality)]
        if not fitting:
            return None
        suite = fitting[case % len(fitting)]
        # Prompts of the same case differ from cell to cell, so each case starts at its own place.
        start = case // len(fitting) * _MOST_PASSED_OVER if oracle == "code_syntax" else case
        for index in count(start):
            drawn = draw_prompt(suite, index, seed=self._seed, modality=modality).case
            if oracle != "code_syntax" or drawn.oracle.kind == "code_syntax":
                room = max(drawn.max_tokens, _MAX_TOKENS)
                return msgspec.structs.replace(drawn, max_tokens=room)
            if index - start >= _MOST_PASSED_OVER:
                return None
        return None


def properties_not_run(playbook: Playbook) -> Iterator[tuple[str, str]]:
    """Return what of the section cannot be tested, each with the reason."""
    section = playbook.property_tests
    if section is None or not section.enabled:
        return
    if section.max_shrink_iters is not None:
        yield "property_tests.max_shrink_iters", "every prompt stands in the plan, none is added"
    for test in section.tests:
        where = f"property_tests.{test.name}"
        generator, oracle = read_generator(test.generator), property_oracle(test.oracle)
        others = [name for name in generator.languages if name != _CODE_LANGUAGE]
        if oracle == "repeat":
            yield where, "it is no property of one answer; F-STAB-REPEAT-001 tests it"
        elif not _testable(generator, oracle):
            yield where, f"no suite has prompts for {', '.join(others)} that an oracle can judge"
        elif others:
            yield f"{where}({', '.join(others)})", f"code is asked for in {_CODE_LANGUAGE}"


def _testable(generator: Generator, oracle: str) -> bool:
    known = not generator.languages or _CODE_LANGUAGE in generator.languages
    return oracle != "repeat" and known and (oracle != "code_syntax" or bool(generator.suites))


def _tests(playbook: Playbook) -> tuple[PropertyTest, ...]:
    section = playbook.property_tests
    return section.tests if section is not None and section.enabled else ()


def _count(playbook: Playbook, test: PropertyTest) -> int:
    assert playbook.property_tests is not None  # noqa: S101 - the test stands in it
    return playbook.property_tests.cases if test.count is None else test.count


def _source(text: str) -> random.Random:
    digest = hashlib.sha256(text.encode()).digest()
    return random.Random(int.from_bytes(digest))  # noqa: S311 - draws test prompts, not secrets
