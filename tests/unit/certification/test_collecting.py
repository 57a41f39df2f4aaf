from pathlib import Path

import msgspec
import pytest

from aprqa_ci.certification.collecting import Collected, artifact_name, collect_shards
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.merging import MANIFEST_NAME
from aprqa_ci.planning.plan import Plan, plan_digest
from aprqa_ci.wire import pretty_json
from tests.playbooks import planned, playbook_data
from tests.records import made_shard

PLAN: Plan = planned(playbook_data(test_matrix={"modalities": ["run", "chat"]}), shards=2)


DIGEST = plan_digest(PLAN)


def collect(root: Path) -> Collected:
    return collect_shards(root, plan_digest=DIGEST)


def leave(
    root: Path,
    shard: str,
    attempt: int,
    *,
    plan: str = DIGEST,
    name: str | None = None,
    code: int = 0,
) -> Path:
    given = made_shard(PLAN, "s001").manifest
    told = {"shard": shard, "attempt": attempt, "plan_digest": plan, "exit": code}
    manifest = msgspec.structs.replace(given, **told)
    directory = root / (name or artifact_name(shard, attempt))
    directory.mkdir(parents=True)
    (directory / MANIFEST_NAME).write_bytes(pretty_json(manifest))
    return directory


def problems(root: Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        collect(root)
    return [str(problem) for problem in caught.value.problems]


def test_no_artifacts_are_no_evidence(tmp_path: Path) -> None:
    assert collect(tmp_path / "none").directories == ()


def test_every_attempt_is_found_by_shard_and_number(tmp_path: Path) -> None:
    other = leave(tmp_path, "s002", 1)
    places = [leave(tmp_path, "s001", attempt) for attempt in (10, 2, 1)]
    assert collect(tmp_path).directories == (*reversed(places), other)


def test_what_the_plan_of_an_earlier_attempt_left_is_named_and_left_out(tmp_path: Path) -> None:
    leave(tmp_path, "s001", 1, plan="0" * 64)
    leave(tmp_path, "s009", 1, plan="0" * 64)
    new = leave(tmp_path, "s001", 2)
    found = collect(tmp_path)
    assert found.directories == (new,)
    assert found.other_plan == ("s001 a1", "s009 a1")


@pytest.mark.parametrize("attempt", [2, 3])
def test_another_plan_that_is_no_leftover_is_left_to_the_merge(
    tmp_path: Path, attempt: int
) -> None:
    new = leave(tmp_path, "s001", 2)
    strange = leave(tmp_path, "s002", attempt, plan="0" * 64)
    found = collect(tmp_path)
    assert found.directories == (new, strange)
    assert found.other_plan == ()


def test_evidence_of_another_plan_alone_is_left_to_the_merge(tmp_path: Path) -> None:
    strange = leave(tmp_path, "s001", 1, plan="0" * 64)
    assert collect(tmp_path).directories == (strange,)


def test_a_shard_that_died_is_named(tmp_path: Path) -> None:
    leave(tmp_path, "s001", 1)
    (tmp_path / "evidence-s002-a1").mkdir()
    assert collect(tmp_path).without_manifest == ("evidence-s002-a1",)


def test_a_shard_that_died_and_was_run_again_is_no_loss(tmp_path: Path) -> None:
    (tmp_path / "evidence-s001-a1").mkdir()
    (tmp_path / "x-evidence-s001-a2").mkdir()
    leave(tmp_path, "s001", 3)
    found = collect(tmp_path)
    assert found.without_manifest == ()
    assert found.made_up_for == ("evidence-s001-a1", "x-evidence-s001-a2")


@pytest.mark.parametrize(
    "name",
    [
        "evidence-s001-a3",  # nothing came after it
        "evidence-s001-a03",
        "evidence-s002-a1",
        "s001-a1",
        "evidence-s001",
        "evidence-s001-a99999999999999999999",
    ],
)
def test_what_nothing_made_up_for_stays_a_loss(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    leave(tmp_path, "s001", 2)
    leave(tmp_path, "s002", 2, code=143)
    found = collect(tmp_path)
    assert (found.without_manifest, found.made_up_for) == ((name,), ())


def test_an_artifact_under_a_prefix(tmp_path: Path) -> None:
    directory = leave(tmp_path, "s001", 1, name="x-evidence-s001-a1")
    assert collect(tmp_path).directories == (directory,)


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
