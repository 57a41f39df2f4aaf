import os
from pathlib import Path

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.planning.family_contract import (
    FamilyContract,
    read_family_contract,
    read_family_contracts,
    size_of_contract,
)

_CORPUS = Path(
    os.environ.get("APRQA_CORPUS", Path(__file__).resolve().parents[3].parent / "shared" / "corpus")
)

CONTRACT = """\
family: acme
display_name: Acme
hf_pattern: "acme/Model-*"
size_variants:
  1b:
    parameters: "1B"
    hidden_dim: 64
    num_layers: 2
    max_position_embeddings: 8192
    rope_theta: 10000.0
constraints:
  attention_type: gqa
  has_bias: "true"
  tied_embeddings: false
tensor_template: {embedding: anything}
certification:
  csv_family_key: acme-csv
  size_categories: {1b: small}
"""


def _contract(folder: Path, text: str = CONTRACT) -> FamilyContract:
    path = folder / "acme.yaml"
    path.write_text(text, encoding="utf-8")
    return read_family_contract(path)


def test_the_facts_of_a_contract(tmp_path: Path) -> None:
    contract = _contract(tmp_path)
    assert contract.family == "acme"
    assert contract.sizes["1b"].dimensions == {
        "expected_hidden_dim": 64,
        "expected_num_layers": 2,
    }
    assert contract.sizes["1b"].max_position_embeddings == 8192
    assert contract.constraints == {
        "attention_type": "gqa",
        "has_bias": "true",
        "tied_embeddings": "false",
    }
    assert contract.size_categories == {"1b": "small"}
    assert contract.registry_family == "acme-csv"


def test_repositories_are_matched_whatever_their_case(tmp_path: Path) -> None:
    contract = _contract(tmp_path)
    assert contract.matches("acme/model-1B")
    assert not contract.matches("acme/other-1B")
    silent = _contract(tmp_path, CONTRACT.replace('hf_pattern: "acme/Model-*"\n', ""))
    assert not silent.matches("acme/model-1B")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hidden_dim: 64", "hidden_dim: -1", r"acme\.yaml:4: not a family contract.*>= 1"),
        ("hidden_dim: 64", "hidden_dim: many", r"acme\.yaml:4: not a family contract"),
        ("family: acme\n", "", "missing required field `family`"),
        ("1b: small", "1b: enormous", "enormous"),
        ("attention_type: gqa", "attention_type: [gqa]", r"acme\.yaml:11: "),
        ("family: acme\n", "family: a b\n", "family"),
        ("constraints:", "constraints: [", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_contract_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _contract(tmp_path, CONTRACT.replace(old, new))


def test_a_folder_is_read_whole(tmp_path: Path) -> None:
    _contract(tmp_path)
    (tmp_path / "_schema.yaml").write_text("nothing: here\n", encoding="utf-8")
    (tmp_path / "other.yaml").write_text(CONTRACT.replace("acme\n", "other\n"), encoding="utf-8")
    assert sorted(read_family_contracts(tmp_path)) == ["acme", "other"]
    for name in ("bad", "worse"):
        (tmp_path / f"{name}.yaml").write_text("family: x\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_family_contracts(tmp_path)
    assert [Path(str(each.path)).name for each in caught.value.problems] == [
        "bad.yaml",
        "worse.yaml",
    ]


def test_a_folder_without_contracts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no family contracts here"):
        read_family_contracts(tmp_path)


def test_a_size_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    contract = _contract(tmp_path)
    assert size_of_contract(contract, "1b").hidden_dim == 64
    with pytest.raises(InputError, match=r"has no size '70b' \(there are 1b\)"):
        size_of_contract(contract, "70b")


def test_the_contracts_of_the_corpus() -> None:
    folder = _CORPUS / "aprender" / "contracts" / "model-families"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set APRQA_CORPUS to the folder of the corpus")
    contracts = read_family_contracts(folder)
    assert {"llama", "qwen2", "qwen3"} <= set(contracts)
    assert contracts["qwen2"].sizes["0.5b"].hidden_dim == 896
