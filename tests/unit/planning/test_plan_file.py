import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.planning.plan import PlacedOut, Plan, plan_digest
from aprqa_ci.planning.plan_file import AnyPlan, PlanFile, open_plan, read_plan, write_plan
from aprqa_ci.wire import pretty_json, read_wire
from tests.playbooks import planned, playbook_data

WHOLE = planned(
    playbook_data("one", test_matrix={"modalities": ["run", "chat"], "prompts": ["a\nb\u2028"]}),
    playbook_data("two"),
    playbook_data("three"),
    tier="quick",
    shards=3,
)
OUT = PlacedOut(cell=WHOLE.cells[-1].id, reason="too\nlarge")
PLAN = msgspec.structs.replace(WHOLE, unplaced=(OUT,))

in_one_folder = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def written(directory: Path, plan: Plan = PLAN) -> Path:
    write_plan(directory / "plan.json", plan)
    return directory / "plan.json"


def answers(plan: AnyPlan) -> list[object]:
    names = [*(entry.name for entry in PLAN.playbooks), "nobody"]
    ids = [cell.id for cell in PLAN.cells]
    return [
        (plan.playbooks, plan.shards, plan.unplaced, plan.deferred),
        plan.digest(),
        dict(plan.playbook_of_cells()),
        [plan.cells_of(name) for name in names * 2],
        [plan.for_playbook(name) for name in names],
        [plan.cells_named(ids[start::-1]) for start in range(len(ids))],
        plan.cells_named(["no such cell"]),
    ]


def test_it_answers_as_the_plan_in_memory_does(tmp_path: Path) -> None:
    path = written(tmp_path)
    found = open_plan(path)
    assert isinstance(found, PlanFile)
    assert answers(found) == answers(PLAN)
    assert found.digest() == plan_digest(PLAN)
    assert read_plan(path) == PLAN


def test_it_is_the_json_that_it_always_was_with_a_cell_a_line(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert read_wire(path, Plan) == PLAN
    whole = json.loads(path.read_bytes())
    assert whole == json.loads(pretty_json(PLAN))
    lines = path.read_text(encoding="utf-8").split("\n")
    cells = [json.loads(line.strip().removesuffix(",")) for line in lines if '"scenarios"' in line]
    assert cells == whole["cells"]


@pytest.mark.parametrize("plan", [PLAN, msgspec.structs.replace(PLAN, cells=())])
def test_a_plan_that_is_written_in_another_way_is_read_all_the_same(
    tmp_path: Path, plan: Plan
) -> None:
    for number, data in enumerate((pretty_json(plan), msgspec.json.encode(plan))):
        path = tmp_path / f"{number}.json"
        path.write_bytes(data)
        assert open_plan(path) == read_plan(path) == plan
    assert read_plan(written(tmp_path, plan)) == plan
    assert answers(open_plan(written(tmp_path, plan))) == answers(plan)


def test_cells_of_one_name_are_all_there(tmp_path: Path) -> None:
    again = msgspec.structs.replace(PLAN.cells[0], playbook="two")
    plan = msgspec.structs.replace(PLAN, cells=(*PLAN.cells, again, PLAN.cells[0]))
    assert answers(open_plan(written(tmp_path, plan))) == answers(plan)


@in_one_folder
@given(data=st.data())
def test_a_damaged_file_is_refused_or_says_the_same_to_every_reader(
    tmp_path: Path, data: st.DataObject
) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    match data.draw(st.sampled_from(["byte", "cut", "drop", "twice", "swap"])):
        case "byte":
            at = data.draw(st.integers(0, len(whole) - 1))
            put = data.draw(st.sampled_from([b"", b",", b"\n", b" ", b"}", b"x", b'"', b"\xff"]))
            made = whole[:at] + put + whole[at + 1 :]
        case "cut":
            made = whole[: data.draw(st.integers(0, len(whole) - 1))]
        case kind:
            at = data.draw(st.integers(0, len(lines) - 2))
            instead = {"drop": [], "twice": [lines[at]] * 2, "swap": [lines[at + 1], lines[at]]}
            rest = lines[at + (2 if kind == "swap" else 1) :]
            made = b"".join([*lines[:at], *instead[kind], *rest])
    path.write_bytes(made)
    try:
        told = answers(open_plan(path))
    except InputError:
        return
    assert told == answers(read_wire(path, Plan))
    assert (told == answers(PLAN)) == (read_plan(path) == PLAN)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (b'    {"id":"two:', b'    {"idd":"two:', r"plan\.json:\d+: not a cell of a plan: .*`idd`"),
        (b"  ]\n}\n", b"  ]\n}\n\n{}", r"plan\.json:\d+: the plan does not end after its cells"),
        (b'"tool_version"', b'"tool_versions"', "unknown field `tool_versions`"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, old: bytes, new: bytes, what: str
) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(old, new, 1))
    for reader in (open_plan, read_plan):
        with pytest.raises(InputError, match=what):
            reader(path)


def test_a_plan_that_is_changed_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    found = open_plan(path)
    path.write_bytes(path.read_bytes().replace(b'"timeout_ms":6', b'"timeout_ms":7'))
    with pytest.raises(InputError, match="changed while it was read"):
        found.cells_of("one")
    path.unlink()
    for read in (lambda: found.cells_of("two"), lambda: open_plan(path), lambda: read_plan(path)):
        with pytest.raises(InputError, match="cannot read the file"):
            read()
    with pytest.raises(InputError, match="cannot read the file"):
        open_plan(tmp_path / "a\0b")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "plan.json")
    with pytest.raises(InputError, match="not a regular file but a pipe"):
        open_plan(tmp_path / "plan.json")


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"plan\.json"):
        write_plan(tmp_path / "file" / "plan.json", PLAN)
