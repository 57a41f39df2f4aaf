import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.evidence.reading import parse_evidence, read_evidence, write_evidence
from aprqa_ci.evidence.record import EvidenceModel, model_id_of
from aprqa_ci.files import sha256_bytes, sha256_file
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import pretty_json
from tests.playbooks import planned, playbook_data
from tests.records import made_records

RECORDS = made_records(planned(playbook_data(), tier="quick"))
RAW: list[dict[str, Any]] = json.loads(pretty_json(RECORDS))


def problems_of(data: object) -> list[str]:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(InputError) as caught:
        parse_evidence(text, source="e.json")
    return [str(problem) for problem in caught.value.problems]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "evidence.json"
    digest = write_evidence(path, RECORDS)
    assert digest == sha256_file(path)
    assert read_evidence(path) == RECORDS
    assert isinstance(json.loads(path.read_bytes()), list)


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1000, 1001])
def test_many_records_are_one_array_however_they_are_written(tmp_path: Path, count: int) -> None:
    records = (RECORDS * (count // len(RECORDS) + 1))[:count]
    digest = write_evidence(tmp_path / "evidence.json", records)
    assert (tmp_path / "evidence.json").read_bytes() == pretty_json(records)
    assert digest == sha256_bytes(pretty_json(records))


@pytest.mark.parametrize(
    "form",
    [
        lambda raw: raw,
        lambda raw: {"evidence": raw},
        lambda raw: {"evidence": raw, "summary": {"total": 1}},
        lambda raw: [each | {"outcome": {each["outcome"]: {"reason": "x"}}} for each in raw],
        lambda raw: {"evidence": [each | {"outcome": {each["outcome"]: None}} for each in raw]},
    ],
)
def test_every_form_is_read(form: Callable[[list[dict[str, Any]]], object]) -> None:
    assert parse_evidence(json.dumps(form(RAW)).encode(), source="e.json") == RECORDS


def test_no_records_are_records() -> None:
    assert parse_evidence(b"[]", source="e.json") == ()


@pytest.mark.parametrize("data", [{}, {"evidence": {}}, 3, "x", None, {"evidence": None}])
def test_anything_else_is_no_evidence(data: object) -> None:
    (problem,) = problems_of(data)
    assert "evidence is an array of records" in problem


@pytest.mark.parametrize("data", [b'["\xc2"]', b'[{"id": "\xff"}]', b'{"evidence": "\xed"}'])
def test_what_is_no_json_is_told(data: bytes) -> None:
    (problem,) = problems_of(data)
    assert re.match(r"e\.json(:1)?: not valid JSON", problem)


def test_bad_records_are_named_by_their_index() -> None:
    raw = [dict(each) for each in RAW[:5]]
    raw[1] = raw[1] | {"outcome": "Corroborate"}
    raw[3] = {key: value for key, value in raw[3].items() if key != "gate_id"}
    raw[4] = raw[4] | {"unheard": 1}
    told = problems_of(raw)
    assert len(told) == 3
    assert "record 1: " in told[0]
    assert "perhaps 'Corroborated' is meant" in told[0]
    assert "record 3: " in told[1]
    assert "gate_id" in told[1]
    assert "record 4: " in told[2]
    assert "unheard" in told[2]


def test_an_outcome_like_no_other_gets_the_list_of_all() -> None:
    (problem,) = problems_of([RAW[0] | {"outcome": "Zzz"}])
    assert "outcomes are Corroborated, Falsified, Skipped, Timeout, Crashed" in problem


@pytest.mark.parametrize("outcome", [{}, {"Corroborated": 1, "Falsified": 1}, 3, None, ["x"]])
def test_an_outcome_is_one_word(outcome: object) -> None:
    (problem,) = problems_of([RAW[0] | {"outcome": outcome}])
    assert problem.startswith("e.json:1: record 0: ")


def test_many_problems_are_counted() -> None:
    told = problems_of([{}] * 25)
    assert len(told) == 21
    assert told[-1] == "e.json: and 5 more records"


@given(st.integers(0, len(RAW) - 1), st.sampled_from(sorted(RAW[0])))
def test_a_field_of_another_type_is_never_taken(index: int, field: str) -> None:
    raw = [dict(each) for each in RAW]
    raw[index] = raw[index] | {field: [1]}
    assert f"record {index}: " in problems_of(raw)[0]


@pytest.mark.parametrize(
    ("variant", "name"),
    [(None, "Qwen/Qwen2.5"), ("", "Qwen/Qwen2.5"), ("0.5B", "Qwen/Qwen2.5-0.5B")],
)
def test_a_model_has_one_name(variant: str | None, name: str) -> None:
    assert model_id_of(EvidenceModel(org="Qwen", name="Qwen2.5", variant=variant)) == name


def test_all_evidence_of_the_field_can_be_read() -> None:
    default = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"
    folder = Path(os.environ.get("APRQA_CORPUS", default)) / "certifications"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set APRQA_CORPUS to the folder of the corpus")
    files = sorted(folder.glob("*/evidence.json"))
    assert len(files) == 20
    outcomes = {record.outcome for path in files for record in read_evidence(path)}
    assert outcomes <= set(Outcome)


@pytest.mark.parametrize("data", [b'["\xc2"]', b'[{"id": "\xff"}]', b'{"evidence": "\xed"}'])
def test_bytes_that_are_no_text_are_a_mistake_like_any_other(data: bytes) -> None:
    with pytest.raises(InputError, match=r"not valid JSON|evidence\.json"):
        parse_evidence(data, source="evidence.json")
