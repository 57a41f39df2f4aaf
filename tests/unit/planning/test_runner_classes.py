import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.planning.plan import RunnerGroup
from aprqa_ci.planning.runner_classes import (
    RunnerClass,
    default_runners,
    parse_runners,
    read_runners,
)
from aprqa_ci.vocabulary import Backend

DOCS = Path(__file__).parents[3] / "docs" / "runners.md"

GOOD: dict[str, Any] = {
    "name": "cpu",
    "runs_on": "ubuntu-latest",
    "backend": "cpu",
    "self_hosted": False,
    "memory_gb": 16,
    "disk_gb": 14,
}


def file_of(*runners: dict[str, Any]) -> bytes:
    return yaml.safe_dump({"schema": "aprqa-runners/1", "runners": list(runners)}).encode()


def parsed(**changes: Any) -> RunnerClass:
    (found,) = parse_runners(file_of({**GOOD, **changes}), source="runners.yml")
    return found


def problems(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        parse_runners(data, source="runners.yml")
    return str(caught.value)


def test_the_default_is_githubs_own_machine() -> None:
    (runner,) = default_runners()
    assert (runner.name, runner.runs_on, runner.backend) == (
        "ubuntu-latest",
        "ubuntu-latest",
        Backend.CPU,
    )
    assert (runner.memory_gb, runner.disk_gb, runner.self_hosted) == (16, 14, False)
    assert runner.takes_forks


def test_defaults_are_the_careful_ones() -> None:
    runner = parsed()
    assert not runner.trusted
    assert (runner.max_parallel, runner.cost_per_minute, runner.speed) == (20, 0, 1)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a", "a"),
        (["self-hosted", "gpu"], ("self-hosted", "gpu")),
        ({"group": "g"}, RunnerGroup(group="g")),
        ({"group": "g", "labels": "l"}, RunnerGroup(group="g", labels="l")),
        ({"group": "g", "labels": ["l", "m"]}, RunnerGroup(group="g", labels=("l", "m"))),
    ],
)
def test_runs_on_is_what_github_takes(written: object, read: object) -> None:
    runner = parsed(runs_on=written, self_hosted=True)
    assert runner.runs_on == read
    assert msgspec.to_builtins(runner.runs_on) == (
        tuple(written) if isinstance(written, list) else written
    ) or msgspec.json.encode(runner.runs_on) == msgspec.json.encode(written)


@pytest.mark.parametrize(
    "runs_on", ["self-hosted", ["x", "Self-Hosted"], {"group": "g", "labels": "self-hosted"}]
)
def test_a_machine_of_ones_own_cannot_pass_for_githubs(runs_on: object) -> None:
    text = problems(file_of({**GOOD, "runs_on": runs_on}))
    assert "asks for `self-hosted` and says that it is not" in text


@given(st.booleans(), st.booleans(), st.sampled_from(["cpu", "gpu"]))
def test_forks_reach_trusted_hosted_cpus_alone(
    trusted: bool,
    self_hosted: bool,
    backend: str,
) -> None:
    runner = parsed(
        trusted=trusted,
        self_hosted=self_hosted,
        backend=backend,
        vram_gb=24 if backend == "gpu" else 0,
    )
    assert runner.takes_forks == (trusted and not self_hosted and backend == "cpu")


def test_every_problem_is_named_with_its_line() -> None:
    text = problems(
        b"""schema: aprqa-runners/1
runners:
  - name: A B
    runs-on: [self-hosted, gpu]
    backend: gpus
    memory_gb: 0
    disk_gb: 10
  - name: x
    runs_on: [self-hosted, 3]
    backend: cpu
    self_hosted: "no"
    memory_gb: 10
    disk_gb: 10
  - name: y
    runs_on: {grop: a}
    backend: gpu
    self_hosted: false
    memory_gb: 10
    disk_gb: 10
  - name: z
    runs_on: a
    backend: gpu
    self_hosted: false
    memory_gb: 10
    disk_gb: 10
"""
    )
    for expected in (
        "runners.yml:3: `runners[0].name` is 'A B'",
        "runners.yml:3: `runners[0].self_hosted` is missing",
        "runners.yml:4: unknown key `runners[0].runs-on` (perhaps 'runs_on' is meant)",
        "runners.yml:5: `runners[0].backend` is 'gpus'; allowed: cpu, gpu",
        "runners.yml:6: `runners[0].memory_gb` is 0",
        "runners.yml:9: `runners[1].runs_on[1]` is 3",
        "runners.yml:11: `runners[1].self_hosted` is 'no'; expected true or false",
        "runners.yml:15: unknown key `runners[2].runs_on.grop` (perhaps 'group' is meant)",
        "runners.yml:20: the GPU class 'z' has no `vram_gb`",
    ):
        assert expected in text


def test_two_classes_of_one_name_are_refused() -> None:
    text = problems(file_of(GOOD, {**GOOD, "runs_on": "b"}))
    assert "the name 'cpu' is also that of `runners[0]`" in text


def test_memory_of_a_gpu_without_a_gpu_is_refused() -> None:
    assert "has `vram_gb` and backend cpu" in problems(file_of({**GOOD, "vram_gb": 8}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"schema: aprqa-runners/1\nrunners: []\n", "at least 1 must be given"),
        (b"runners: [1]\n", "`schema` is missing"),
        (b"[1]\n", "expected a mapping"),
        (b"schema: aprqa-runners/2\nrunners: [1]\n", "aprqa-runners/2"),
        (b"a: 1\na: 2\n", "given twice"),
        (b'schema: "\\u0007"\nrunners: [1]\n', "control character"),
    ],
)
def test_other_files_are_refused(data: bytes, said: str) -> None:
    assert said in problems(data)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the file"):
        read_runners(tmp_path / "none.yml")
    (tmp_path / "some.yml").write_bytes(file_of(GOOD))
    assert read_runners(tmp_path / "some.yml")[0].name == "cpu"


def example(*, uncommented: bool) -> bytes:
    block = re.search(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    text = block[1]
    if uncommented:
        text = re.sub(r"^  # (?=- |  )", "  ", text, flags=re.MULTILINE)
    return text.encode()


def test_the_documented_examples_are_read() -> None:
    assert [each.name for each in parse_runners(example(uncommented=False), source="d")] == [
        "ubuntu-latest"
    ]
    found = parse_runners(example(uncommented=True), source="d")
    assert [each.name for each in found] == ["ubuntu-latest", "gpu-24gb", "big-cpu"]
    assert [each.takes_forks for each in found] == [True, False, False]


def test_every_field_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {name: note.strip().strip("`") for name, note in rows}
    fields = {field.name: field for field in msgspec.structs.fields(RunnerClass)}
    assert list(documented) == sorted(documented, key=list(documented).index)
    assert set(documented) == set(fields)
    for name, field in fields.items():
        if field.required:
            assert documented[name] == "required", name
        elif name != "vram_gb":
            assert (
                documented[name] == f"{field.default:g}".lower()
                if not isinstance(field.default, bool)
                else str(field.default).lower()
            ), name
