from pathlib import Path

import pytest

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
