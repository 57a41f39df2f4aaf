from pathlib import Path

import pytest

from aprqa_ci.certification.bundle import read_plan
from aprqa_ci.cli.main import run
from aprqa_ci.planning.tiers import tier_named
from aprqa_ci.playbook.load import declared_tier, load_playbooks, load_template
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat

VALUES = {"MODEL_NAME": "tiny-1b", "HF_REPO": "org/tiny-1b", "SIZE_CATEGORY": "small"}


def test_our_playbooks_need_no_mending(repository: Path) -> None:
    for loaded in load_playbooks([repository / "playbooks" / "models"]):
        assert loaded.warnings == ()
        assert loaded.declared_not_run == ()
        assert loaded.path.name == f"{loaded.playbook.name}.playbook.yaml"
        assert declared_tier(loaded.playbook) == loaded.playbook.name.rpartition("-")[2]


def test_the_bundled_model_at_mvp(repository: Path) -> None:
    (loaded,) = load_playbooks([repository / "playbooks/models/aprqa-tiny-mvp.playbook.yaml"])
    playbook = loaded.playbook
    assert loaded.local_path == repository / "aprqa_ci" / "data" / "models" / "aprqa-tiny"
    assert playbook.model.formats == (ModelFormat.SAFETENSORS, ModelFormat.GGUF)
    assert playbook.model.quantizations == ("f16", "q8_0", "q4_0")
    assert playbook.test_matrix.modalities == tuple(Modality)
    assert playbook.test_matrix.backends == (Backend.CPU,)


@pytest.mark.parametrize("tier", ["quick", "smoke", "mvp", "full"])
def test_our_templates(repository: Path, tier: str) -> None:
    path = repository / "playbooks" / "templates" / f"{tier}-template.yaml"
    loaded = load_template(path, VALUES)
    assert loaded.playbook.name == f"tiny-1b-{tier}"
    assert declared_tier(loaded.playbook) == tier
    assert loaded.playbook.model.size_category == "small"
    assert loaded.warnings == ()
    assert loaded.declared_not_run == ()


UNCOMPARED = "GGUF metadata are compared with nothing: no SafeTensors are in this run"


@pytest.mark.parametrize("tier", ["quick", "mvp"])
def test_all_our_playbooks_are_planned_by_the_command(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tier: str,
) -> None:
    """The glob reaches the command as it is written, quoted."""
    monkeypatch.chdir(repository)
    output = tmp_path / "plan.json"
    code = run(["plan", "playbooks/models/*", "--tier", tier, "-o", str(output)])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    plan = read_plan(output)
    files = sorted((repository / "playbooks" / "models").iterdir())
    loaded = {each.playbook.name: each.playbook for each in load_playbooks(files)}
    assert [playbook.path for playbook in plan.playbooks] == [
        path.relative_to(repository).as_posix() for path in files
    ]
    taken = tier_named(tier)
    for planned in plan.playbooks:
        declared = loaded[planned.name].model
        own = [cell for cell in plan.cells if cell.playbook == planned.name]
        expected = {
            (format_, quantization)
            for format_ in declared.formats[: taken.formats]
            for quantization in (
                declared.quantizations[: taken.quantizations]
                if format_ is ModelFormat.GGUF
                else (None,)
            )
        }
        assert {(cell.format, cell.quantization) for cell in own} == expected, planned.name
        # What is tested of a format on a backend is tested in every way that is declared.
        matrix = loaded[planned.name].test_matrix
        backends = set(matrix.backends) & set(taken.backends or matrix.backends)
        assert len(own) == len(expected) * len(matrix.modalities) * len(backends), planned.name
        assert all(cell.scenarios for cell in own), planned.name
        assert planned.declared_not_run == ()
        assert not planned.narrowed
    assert (plan.unplaced, plan.deferred) == ((), ())
    packed = [cell for shard in plan.shards for cell in shard.cells]
    assert sorted(packed) == sorted(cell.id for cell in plan.cells)
    # It is of the one file that can be had without a network.
    alone = f"  warning: smollm2-135m-quick: {UNCOMPARED}"
    warned = [line for line in said.out.splitlines() if "warning" in line]
    assert warned == ([alone] if taken.certifying else [])
