import json
from pathlib import Path
from typing import TYPE_CHECKING

from aprqa_ci.certification.bundle import Bundle

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa


def test_a_sound_registry_is_a_good_end(aprqa: "Aprqa", certified: Bundle) -> None:
    aprqa("register", certified.directory)
    ended = aprqa("doctor", "--certifications", certified.directory.parent)
    # The records of these tests are of version 0.0.0, and their certificate of this one.
    assert (ended.code, ended.out) == (
        0,
        "1 rows, evidence in 1 directories: 0 findings on 0 subjects\n",
    )


def test_what_was_found_is_exit_code_1(aprqa: "Aprqa", certified: Bundle, tmp_path: Path) -> None:
    aprqa("register", certified.directory)
    path = tmp_path / "docs" / "certifications" / "models.csv"
    path.write_bytes(path.read_bytes().replace(b",1000,", b",999,"))
    ended = aprqa("doctor", tmp_path)
    assert ended.code == 1
    assert f"{path}:2: org/tiny: row-without-evidence: " in ended.out
    said = aprqa("doctor", tmp_path, "--json")
    assert said.code == 1
    finding = json.loads(said.out)["findings"][0]
    assert (finding["subject"], finding["kind"]) == ("org/tiny", "row-without-evidence")
    assert finding["detail"].startswith("status is CERTIFIED")


def test_without_a_registry_there_is_nothing_to_look_at(aprqa: "Aprqa", tmp_path: Path) -> None:
    assert aprqa("doctor", tmp_path).code == 2
    (tmp_path / "models.csv").write_text("name\n", encoding="utf-8")
    ended = aprqa("doctor", "--registry", "models.csv")
    assert ended.code == 2
    assert "no model registry" in ended.err
