import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from aprqa_ci.certification.bundle import read_bundle, write_bundle
from aprqa_ci.certification.repeating import certify_failed
from aprqa_ci.certification.standing import Earlier
from aprqa_ci.certification.steps import (
    Surroundings,
    certify_plan,
    make_plan,
    merge_shards,
    run_shard,
)
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.merging import EVIDENCE_NAME, MANIFEST_NAME
from aprqa_ci.evidence.reading import write_evidence
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.plan import Plan
from aprqa_ci.vocabulary import Status
from aprqa_ci.wire import pretty_json
from tests.playbooks import planned, playbook_data
from tests.records import made_records, made_shard

MATRIX = {"modalities": ["run", "chat"]}
SHARDED = planned(
    playbook_data("one", test_matrix=MATRIX), playbook_data("two"), tier="mvp", shards=3
)


def world(root: Path, **changes: object) -> Surroundings:
    here = Surroundings(environment={}, home=root, root=root, run_command=lambda _: None)
    return replace(here, **changes)  # type: ignore[arg-type] # fields of Surroundings


def write_shard(directory: Path, plan: Plan, name: str, **options: int) -> Path:
    shard = made_shard(plan, name, **options)  # type: ignore[arg-type] # attempt alone
    digest = write_evidence(directory / EVIDENCE_NAME, shard.records)
    manifest = json.loads(pretty_json(shard.manifest))
    manifest["files"] = {EVIDENCE_NAME: digest}
    (directory / MANIFEST_NAME).write_bytes(pretty_json(manifest))
    return directory


def write_playbook(folder: Path, name: str = "tiny", **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.playbook.yaml"
    path.write_text(json.dumps(playbook_data(name, **changes)), encoding="utf-8")
    return path


def test_a_plan_is_made_of_what_paths_name(tmp_path: Path) -> None:
    write_playbook(tmp_path / "books", "one")
    write_playbook(tmp_path / "books", "two")
    plan = make_plan(
        [tmp_path / "books"], options=PlanOptions(shards=2), surroundings=world(tmp_path)
    )
    assert [playbook.path for playbook in plan.playbooks] == [
        "books/one.playbook.yaml",
        "books/two.playbook.yaml",
    ]
    assert len(plan.shards) == 2


def test_a_plan_says_the_same_wherever_the_repository_is(tmp_path: Path) -> None:
    plans = []
    for name in ("here", "there"):
        root = tmp_path / name
        write_playbook(root / "books", model={"local_path": "../models/tiny"})
        plans.append(make_plan([root / "books"], options=PlanOptions(), surroundings=world(root)))
    assert plans[0] == plans[1]


def test_all_problems_of_all_playbooks_are_told(tmp_path: Path) -> None:
    write_playbook(tmp_path, "one", nmae="x")
    write_playbook(tmp_path, "two", test_matrix={"modalities": ["walk"]})
    with pytest.raises(InputError) as caught:
        make_plan([tmp_path], options=PlanOptions(), surroundings=world(tmp_path))
    assert {Path(str(problem.path)).name for problem in caught.value.problems} == {
        "one.playbook.yaml",
        "two.playbook.yaml",
    }


def test_the_run_after_a_certified_one_is_compared_with_it(tmp_path: Path) -> None:
    path, out = write_playbook(tmp_path), tmp_path / "certifications"
    # SafeTensors alone cannot show agreement, and can be certified all the same.
    first = make_plan(
        [path], options=PlanOptions(), surroundings=world(tmp_path), certifications=out
    )
    bundle = write_bundle(
        out / "tiny", first.for_playbook("tiny"), made_records(first), model_digests={}
    )
    assert bundle.certificate.status is Status.CERTIFIED
    second = make_plan(
        [path], options=PlanOptions(), surroundings=world(tmp_path), certifications=out
    )
    gates = {each.gate_id for cell in second.cells for each in cell.scenarios}
    assert "F-REGR-BASELINE-001" in gates
    assert second.playbooks[0].baseline is not None
    without = make_plan([path], options=PlanOptions(), surroundings=world(tmp_path))
    assert without == first


def test_merged_shards_score_as_one_run(tmp_path: Path) -> None:
    names = [shard.id for shard in SHARDED.shards]
    folders = [write_shard(tmp_path / name, SHARDED, name) for name in names]
    for number, order in enumerate((folders, folders[::-1])):
        merged, bundles = merge_shards(order, SHARDED, out=tmp_path / f"merged-{number}")
        assert merged.missing_shards == ()
        assert [bundle.plan.playbooks[0].name for bundle in bundles] == ["one", "two"]
        for bundle in bundles:
            own = bundle.plan
            whole = write_bundle(tmp_path / "whole", own, made_records(own), model_digests={})
            assert bundle.score.mqs == whole.score.mqs == 1000
            assert bundle.certificate.status is Status.CERTIFIED
            assert (bundle.directory / "report.md").exists()
            assert read_bundle(bundle.directory) == bundle


def test_a_missing_shard_leaves_no_verdict_and_is_named(tmp_path: Path) -> None:
    folders = [write_shard(tmp_path / name, SHARDED, name) for name in ("s001", "s003")]
    merged, bundles = merge_shards(folders, SHARDED, out=tmp_path / "merged")
    assert merged.missing_shards == ("s002",)
    lost = {cell for shard in SHARDED.shards if shard.id == "s002" for cell in shard.cells}
    for bundle in bundles:
        touched = any(cell.id in lost for cell in bundle.plan.cells)
        expected = Status.INCONCLUSIVE if touched else Status.CERTIFIED
        assert bundle.certificate.status is expected
        assert bool(bundle.certificate.coverage.missing) == touched


def test_a_machine_is_asked_once_what_it_is(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(command: Sequence[str]) -> str:
        asked.append(command[0])
        return f"GPU {len(asked)}, 1.0, 2"

    here = world(tmp_path, run_command=answer)
    for name in ("one", "two"):
        write_playbook(tmp_path / "books", name)
    options = PlanOptions(tier="quick")
    plan = make_plan([tmp_path / "books"], options=options, surroundings=here)
    first = certify_plan(plan, out=tmp_path / "out", surroundings=here)
    earlier = {bundle.plan.playbooks[0].name: Earlier.of(bundle) for bundle in first}
    second = certify_plan(plan, out=tmp_path / "out", previous=earlier, surroundings=here)
    hosts = [{record.host.gpu for record in bundle.records} for bundle in (*first, *second)]
    assert hosts == [{"GPU 1, 1.0, 2"}] * 2 + [{"GPU 2, 1.0, 2"}] * 2
    assert asked == ["nvidia-smi"] * 2
    certify_failed(plan, out=tmp_path / "out", surroundings=here)
    assert asked == ["nvidia-smi"] * 3


def test_an_unknown_shard_is_named_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no shard 's009'; it has s001, s002, s003"):
        run_shard(SHARDED, "s009", out=tmp_path, surroundings=world(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_processors_are_shared_among_the_workers(tmp_path: Path) -> None:
    large = planned(playbook_data(model={"size_category": "large"}))
    tiny = planned(playbook_data())
    for processors, workers, threads in ((4, 1, 4), (4, 2, 2), (1, 3, 1), (64, 1, 8)):
        here = world(tmp_path, processors=processors, workers=workers)
        assert here.run_environment(large).threads == threads
        assert here.run_environment(tiny).threads == 1
        assert here.run_environment(large).workers == workers


def test_commands_that_fail_say_nothing(tmp_path: Path) -> None:
    run_command = Surroundings(home=tmp_path, root=tmp_path).run_command
    assert run_command(["echo", "hello"]) == "hello\n"
    assert run_command(["false"]) is None
    assert run_command([str(tmp_path / "nothing")]) is None
