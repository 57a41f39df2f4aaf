import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.certification.bundle import Bundle
from tests.playbooks import playbook_data

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa

GOOD_PLAYBOOK = """\
name: good
version: "1.0.0"
model: {hf_repo: org/good, size_category: tiny}
test_matrix: {modalities: [run]}
"""


def test_good_files_of_every_kind(aprqa: "Aprqa", certified: Bundle, tmp_path: Path) -> None:
    (tmp_path / "good.playbook.yaml").write_text(GOOD_PLAYBOOK, encoding="utf-8")
    aprqa("register", certified.directory, "--registry", tmp_path / "models.csv")
    for path in (
        "good.playbook.yaml",
        "models.csv",
        "bundle/plan.json",
        "bundle/evidence.json",
        "bundle/certificate.json",
        "bundle/accepted-certificate.json",
    ):
        ended = aprqa("validate", path)
        assert (ended.code, ended.out, ended.err) == (0, "1 file valid\n", ""), path


def test_a_directory_stands_for_all_below_it(
    aprqa: "Aprqa", certified: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "good.playbook.yaml").write_text(GOOD_PLAYBOOK, encoding="utf-8")
    ended = aprqa("validate", ".")
    # The playbook, the plan, the evidence, and the bundle as a whole.
    assert (ended.code, ended.out) == (0, "4 files valid\n")
    path = certified.directory / "evidence.json"
    path.write_bytes(path.read_bytes().replace(b'"output": "4"', b'"output": "5"', 1))
    ended = aprqa("validate", ".")
    assert ended.code == 2
    assert "bundle/evidence.json: the evidence is not what the certificate was made of" in ended.err


def test_warnings_are_told_and_are_no_problems(aprqa: "Aprqa", tmp_path: Path) -> None:
    text = f"{GOOD_PLAYBOOK}gates:\n  g1_model_loads: 'true'\n"
    (tmp_path / "x.playbook.yaml").write_text(text, encoding="utf-8")
    ended = aprqa("validate", "x.playbook.yaml")
    assert ended.code == 0
    assert ended.out.startswith("warning: x.playbook.yaml:6: ")
    assert ended.out.endswith("1 file valid\n")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.yaml", GOOD_PLAYBOOK.replace("version", "vesion"), "x.yaml:2: "),
        ("x.yml", f"{GOOD_PLAYBOOK}name: again\n", "x.yml:5: the key 'name' is given twice"),
        ("x.csv", "a,b\n1,2\n", "x.csv:1: "),
        ("x.json", "{", "x.json: not valid JSON"),
        ("x.json", '[{"id": 3}]', "x.json:1: record 0: "),
        ("x.json", '{"schema": "aprqa-plan/1", "cels": []}', "perhaps 'cells' is meant"),
        ("x.json", '{"schema": "aprqa-certificate/1", "mqs": "high"}', "x.json:1: "),
        ("x.json", '{"schema": "aprqa-shard/1"}', "x.json:1: Object missing required field"),
        ("x.json", '{"schema": "aprqa-plan/2"}', "the schema 'aprqa-plan/2' is not known (perhaps"),
        ("x.json", '{"schema": "zzz"}', "the schema 'zzz' is not known (known are aprqa-plan/1"),
        ("x.json", '{"hello": 1}', "x.json: evidence is an array of records"),
        ("x.txt", "hello", "x.txt: do not know what to check in a .txt file"),
        ("x", "hello", "x: do not know what to check in a suffixless file"),
    ],
)
def test_bad_files_of_every_kind(
    aprqa: "Aprqa", tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    ended = aprqa("validate", name)
    assert ended.code == 2
    assert message in ended.err
    assert ended.out == ""


def test_every_problem_of_every_path_is_told_before_the_one_exit(
    aprqa: "Aprqa", tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.playbook.yaml").write_text("name: x\nnmae: y\n", encoding="utf-8")
    (tmp_path / "good.playbook.yaml").write_text(
        json.dumps(playbook_data("good")), encoding="utf-8"
    )
    ended = aprqa("validate", "nowhere", "empty", "bad.playbook.yaml", "good.playbook.yaml")
    assert ended.code == 2
    for told in (
        "error: nowhere: there is no such file",
        "error: empty: there is nothing to validate here",
        "error: bad.playbook.yaml:2: ",
    ):
        assert told in ended.err
    assert "good" not in ended.err
    assert "valid" not in ended.out
