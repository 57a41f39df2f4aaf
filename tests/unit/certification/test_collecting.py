from pathlib import Path

import msgspec
import pytest

from aprqa_ci.certification.collecting import artifact_name, collect_shards
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.merging import MANIFEST_NAME
from aprqa_ci.planning.plan import Plan
from aprqa_ci.wire import pretty_json
from tests.playbooks import planned, playbook_data
from tests.records import made_shard

PLAN: Plan = planned(playbook_data(test_matrix={"modalities": ["run", "chat"]}), shards=2)


def leave(root: Path, shard: str, attempt: int, *, code: int = 0, name: str | None = None) -> Path:
    manifest = msgspec.structs.replace(made_shard(PLAN, shard).manifest, attempt=attempt, exit=code)
    directory = root / (name or artifact_name(shard, attempt))
    directory.mkdir(parents=True)
    (directory / MANIFEST_NAME).write_bytes(pretty_json(manifest))
    return directory


def problems(root: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        collect_shards(root)
    return [str(problem) for problem in caught.value.problems]


def test_no_artifacts_are_no_evidence(tmp_path: Path) -> None:
    assert collect_shards(tmp_path / "none").directories == ()


def test_the_newest_complete_attempt_counts(tmp_path: Path) -> None:
    leave(tmp_path, "s001", 1)
    second = leave(tmp_path, "s001", 2)
    leave(tmp_path, "s001", 10, code=143)
    first = leave(tmp_path, "s002", 1)
    found = collect_shards(tmp_path)
    assert found.directories == (second, first)
    assert found.superseded == ("s001 a1", "s001 a10")
    assert found.unfinished == ()


def test_without_a_complete_attempt_the_newest_counts(tmp_path: Path) -> None:
    leave(tmp_path, "s001", 9, code=3)
    newest = leave(tmp_path, "s001", 10, code=143)
    found = collect_shards(tmp_path)
    assert found.directories == (newest,)
    assert found.superseded == ("s001 a9",)
    assert found.unfinished == ("s001 a10 (exit 143)",)


def test_a_shard_that_died_is_named(tmp_path: Path) -> None:
    leave(tmp_path, "s001", 1)
    (tmp_path / "evidence-s002-a1").mkdir()
    assert collect_shards(tmp_path).without_manifest == ("evidence-s002-a1",)


def test_an_artifact_under_a_prefix(tmp_path: Path) -> None:
    directory = leave(tmp_path, "s001", 1, name="x-evidence-s001-a1")
    assert collect_shards(tmp_path).directories == (directory,)


def test_an_artifact_that_lies_about_its_name(tmp_path: Path) -> None:
    leave(tmp_path, "s001", 1, name="evidence-s002-a1")
    (told,) = problems(tmp_path)
    assert "named evidence-s002-a1" in told


def test_one_attempt_given_twice(tmp_path: Path) -> None:
    leave(tmp_path, "s001", 1)
    leave(tmp_path, "s001", 1, name="again")
    (told,) = problems(tmp_path)
    assert "s001 a1 is there twice" in told


def test_all_that_is_wrong_is_told(tmp_path: Path) -> None:
    (leave(tmp_path, "s001", 1) / MANIFEST_NAME).write_bytes(b"{}")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path)
    told = problems(tmp_path)
    assert len(told) == 3
    assert sum("not the directory of a shard" in each for each in told) == 2


def test_what_is_no_directory_cannot_be_listed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "cannot be listed" in problems(tmp_path / "file")[0]
