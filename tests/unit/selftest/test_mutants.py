"""The mutants as data: each can be made, and says what has to catch it."""

import inspect
import re
from typing import Any

import msgspec
import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.selftest.faults import ANSWER_FAULTS, END_FAULTS, LOAD_FAULTS
from aprqa_ci.selftest.faulty_engine import OTHER_FAULTS
from aprqa_ci.selftest.faulty_server import SERVER_FAULTS
from aprqa_ci.selftest.mutants import (
    Mutant,
    MutantClass,
    MutantFile,
    Sample,
    chosen_samples,
    mutant_file,
)
from aprqa_ci.selftest.transforms import TRANSFORMS, check_parameters
from aprqa_ci.vocabulary import Category, Gateway

FILE = mutant_file()
SAMPLES = chosen_samples(FILE.mutants)


def test_there_are_enough_of_every_class() -> None:
    assert len(FILE.mutants) >= 80
    counts = {name: [each for each in FILE.mutants if each.class_ is name] for name in MutantClass}
    assert min(len(found) for found in counts.values()) >= 4


def test_every_mutant_has_a_held_out_half() -> None:
    assert [each.id for each in FILE.mutants if not each.held_out] == []
    for each in FILE.mutants:
        known = [values for values in each.dev if values]
        assert not [values for values in each.held_out if values in known], each.id


def test_the_fast_subset_has_every_class() -> None:
    fast = chosen_samples(FILE.mutants, fast=True)
    assert {sample.mutant.class_ for sample in fast} == set(MutantClass)
    assert 10 <= len(fast) <= 20
    assert not any(sample.held_out for sample in fast)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
def test_every_value_fits_what_it_is_for(sample: Sample) -> None:
    mutant = sample.mutant
    if mutant.transform is not None:
        check_parameters(mutant.transform, sample.parameters)
        return
    name = mutant.fault or ""
    if name in OTHER_FAULTS:
        assert sample.parameters == {}
        return
    fault: Any = {**ANSWER_FAULTS, **LOAD_FAULTS, **END_FAULTS, **SERVER_FAULTS}[name]
    before = (None,) * ((name in ANSWER_FAULTS) + 2 * (name in SERVER_FAULTS))
    inspect.signature(fault).bind(*before, **sample.parameters)


def test_a_fault_has_an_engine_that_can_have_it_and_a_broken_file_has_none() -> None:
    for mutant in FILE.mutants:
        assert FILE.plans[mutant.plan].faulty_engine is (mutant.fault is not None), mutant.id


def test_every_expectation_can_be_met() -> None:
    known = {*gate_catalogue(), *Gateway, *Category}
    for mutant in FILE.mutants:
        for name in mutant.expect:
            assert name in known or re.fullmatch(r"infrastructure:[a-z-]+", name), mutant.id


def test_every_transform_and_every_fault_is_used() -> None:
    used = {each.transform or each.fault for each in FILE.mutants}
    faults = {*ANSWER_FAULTS, *LOAD_FAULTS, *END_FAULTS, *SERVER_FAULTS, *OTHER_FAULTS}
    assert ({*TRANSFORMS} | faults) - used == set()


def test_values_are_laid_over_what_they_have_in_common() -> None:
    first, *_ = chosen_samples(FILE.mutants, only=["gguf-truncated"])
    assert (first.id, first.held_out) == ("gguf-truncated#1", False)
    assert first.parameters == {"file": "*q8_0.gguf", "share": 0.5}
    last = chosen_samples(FILE.mutants, only=["gguf-truncated"])[-1]
    assert last.held_out


def test_samples_are_chosen_by_class_and_id() -> None:
    of_class = chosen_samples(FILE.mutants, classes=[MutantClass.PERFORMANCE])
    assert {sample.mutant.class_ for sample in of_class} == {MutantClass.PERFORMANCE}
    assert [s.id for s in chosen_samples(FILE.mutants, only=["stalls#2"])] == ["stalls#2"]


def test_an_unknown_mutant_and_nothing_are_mistakes() -> None:
    with pytest.raises(InputError, match="perhaps 'echo"):
        chosen_samples(FILE.mutants, only=["ecko"])
    with pytest.raises(InputError, match="no mutant is left"):
        chosen_samples(FILE.mutants, only=["echo"], classes=[MutantClass.FILES])


def _file(**changes: Any) -> dict[str, Any]:
    mutant = {
        "id": "a",
        "class": "files",
        "meaning": "m",
        "transform": "remove",
        "plan": "p",
        "expect": ["G0"],
    }
    return {
        "schema": "aprqa-mutants/1",
        "plans": {"p": {"formats": ["gguf"]}},
        "mutants": [{**mutant, **changes}],
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fault": "echo"}, "a transform or a fault"),
        ({"transform": None}, "a transform or a fault"),
        ({"plan": "q"}, "no such plan: q"),
        ({"colour": "red"}, "unknown field"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    assert msgspec.convert(_file(), type=MutantFile).mutants[0].dev == ({},)
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(_file(**changes), type=MutantFile)


def test_an_id_stands_once() -> None:
    content = _file()
    content["mutants"] *= 2
    with pytest.raises(msgspec.ValidationError, match="stands twice"):
        msgspec.convert(content, type=MutantFile)


def test_a_mutant_without_values_is_one_sample() -> None:
    mutant = Mutant(
        id="a", class_=MutantClass.FILES, meaning="m", transform="remove", plan="p", expect=("G0",)
    )
    assert [sample.parameters for sample in chosen_samples([mutant])] == [{}]
