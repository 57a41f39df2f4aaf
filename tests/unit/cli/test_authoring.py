from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.playbook.load import load_playbook
from tests.unit.planning.test_family_contract import CONTRACT

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa

_CODER = "playbooks/models/qwen2.5-coder-0.5b-mvp.playbook.yaml"


def test_init_writes_a_playbook_that_is_valid(aprqa: "Aprqa", tmp_path: Path) -> None:
    ended = aprqa("init", "Qwen/Qwen2.5-Coder-0.5B-Instruct", "--tier", "mvp")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        f"{_CODER}: Qwen/Qwen2.5-Coder-0.5B-Instruct, tiny\nnext: aprqa plan {_CODER} --print\n"
    )
    loaded = load_playbook(tmp_path / _CODER)
    assert loaded.warnings == ()
    assert loaded.playbook.model.expected_hidden_dim == 896
    assert aprqa("plan", _CODER, "--print").code == 0


def test_a_file_that_is_there_stays_unless_force_says_otherwise(
    aprqa: "Aprqa", tmp_path: Path
) -> None:
    arguments = ("init", "acme/x-1B", "-o", "own.yaml")
    assert aprqa(*arguments).code == 0
    written = (tmp_path / "own.yaml").read_text(encoding="utf-8")
    (tmp_path / "own.yaml").write_text("mine", encoding="utf-8")
    ended = aprqa(*arguments)
    assert ended.code == 2
    assert "own.yaml: there is such a file already (add --force" in ended.err
    assert (tmp_path / "own.yaml").read_text(encoding="utf-8") == "mine"
    assert aprqa(*arguments, "--force").code == 0
    assert (tmp_path / "own.yaml").read_text(encoding="utf-8") == written


def test_standard_output_name_size_and_own_templates(aprqa: "Aprqa", tmp_path: Path) -> None:
    folder = tmp_path / "playbooks" / "templates"
    folder.mkdir(parents=True)
    (folder / "quick-template.yaml").write_text(
        'name: ${MODEL_NAME}-own\nversion: "2.0.0"\nmodel:\n  hf_repo: ${HF_REPO}\n'
        "  size_category: ${SIZE_CATEGORY}\ntest_matrix: {modalities: [run]}\n",
        encoding="utf-8",
    )
    ended = aprqa("init", "acme/x", "--size", "huge", "--name", "y", "--tier", "quick", "-o", "-")
    assert ended.code == 0
    assert "name: y-own\n" in ended.out
    assert "size_category: huge" in ended.out
    assert not (tmp_path / "playbooks" / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("init", "nothing"), "'nothing' is not a repository"),
        (("init", "acme/x"), "add --size"),
        (("init", "acme/x-1B", "--tier", "mvpp"), "perhaps 'mvp' is meant"),
        (
            ("bootstrap", "acmee", "1b"),
            "there is no contract of the family 'acmee' (perhaps 'acme'",
        ),
        (("bootstrap", "acme", "2b"), "has no size '2b'"),
        (("bootstrap", "acme", "1b"), "name it with --repo"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_written(
    aprqa: "Aprqa", tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "acme.yaml").write_text(CONTRACT, encoding="utf-8")
    contracts = ("--contracts", "contracts") if arguments[0] == "bootstrap" else ()
    ended = aprqa(*arguments, *contracts)
    assert ended.code == 2
    assert message in ended.err
    assert not (tmp_path / "playbooks").exists()


def test_bootstrap_writes_what_the_contract_says(aprqa: "Aprqa", tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "acme.yaml").write_text(CONTRACT, encoding="utf-8")
    ended = aprqa("bootstrap", "acme", "1b", "--contracts", "contracts", "--repo", "acme/Model-1B")
    assert (ended.code, ended.err) == (0, "")
    path = tmp_path / "playbooks" / "models" / "acme-1b-mvp.playbook.yaml"
    model = load_playbook(path).playbook.model
    assert (model.expected_hidden_dim, model.expected_num_layers) == (64, 2)
    ended = aprqa("align", "contracts")
    assert (ended.code, ended.out) == (0, "1 compared, 0 contradictions, 0 without a contract\n")


def test_align_ends_with_one_for_a_contradiction_and_two_without_contracts(
    aprqa: "Aprqa", tmp_path: Path
) -> None:
    contracts = tmp_path / "aprender" / "contracts" / "model-families"
    contracts.mkdir(parents=True)
    (contracts / "acme.yaml").write_text(CONTRACT, encoding="utf-8")
    aprqa("init", "acme/Model-1B", "--size", "large")
    ended = aprqa("align", "aprender")
    assert ended.code == 1
    assert "size_category is large, small in acme.yaml\n" in ended.out
    assert "warning: " in ended.out
    ended = aprqa("align", "aprender", "--json")
    assert ended.code == 1
    assert '"kind": "size-category"' in ended.out
    ended = aprqa("align", "nowhere")
    assert ended.code == 2
    assert "nowhere: there is no such folder (check out aprender" in ended.err
