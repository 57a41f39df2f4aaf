from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.planning.family_contract import FamilyContract, SizeFacts
from aprqa_ci.playbook.load import LoadedPlaybook, parse_playbook
from aprqa_ci.registry.alignment import Alignment, align
from aprqa_ci.registry.models_csv import COLUMNS, EMPTY_REGISTRY, read_registry
from aprqa_ci.vocabulary import SizeCategory
from aprqa_ci.wire import canonical_json


def _contract(family: str, pattern: str) -> FamilyContract:
    return FamilyContract(
        path=Path(f"contracts/{family}.yaml"),
        family=family,
        hf_pattern=pattern,
        sizes={
            "0.5b": SizeFacts(hidden_dim=896, num_layers=24),
            "7b": SizeFacts(hidden_dim=3584, num_layers=28),
        },
        constraints={},
        size_categories={"0.5b": SizeCategory.TINY, "7b": SizeCategory.MEDIUM},
        registry_family=None,
    )


_CONTRACTS = {
    "acme": _contract("acme", "acme/Model-*"),
    "other": _contract("other", "other/*"),
}
_WHOLE = {
    "hf_repo": "acme/Model-0.5B",
    "size_category": "tiny",
    "family": "acme",
    "size_variant": "0.5b",
    "expected_hidden_dim": 896,
    "expected_num_layers": 24,
}


def _playbook(**changes: Any) -> LoadedPlaybook:
    model = {key: value for key, value in {**_WHOLE, **changes}.items() if value is not None}
    data = {
        "name": "m",
        "version": "1.0.0",
        "model": model,
        "test_matrix": {"modalities": ["run"]},
    }
    return parse_playbook(canonical_json(data), path=Path("m.playbook.yaml"))


def _align(**changes: Any) -> Alignment:
    return align(_CONTRACTS, [_playbook(**changes)], None)


def test_a_playbook_that_says_the_same() -> None:
    result = _align()
    assert result.compared == ("m",)
    assert (result.contradictions, result.notices, result.without_contract) == ((), (), ())


@pytest.mark.parametrize(
    ("changes", "kind", "what"),
    [
        (
            {"size_category": "small"},
            "size-category",
            "size_category is small, tiny in acme.yaml",
        ),
        (
            {"expected_hidden_dim": 897},
            "dimension",
            "expected_hidden_dim is 897, 896 in acme.yaml",
        ),
        ({"size_variant": "8b"}, "size", "size_variant is 8b, and acme.yaml has 0.5b, 7b"),
        (
            {"family": "other"},
            "family",
            "family is other, and acme/Model-0.5B is of acme by the pattern of acme.yaml",
        ),
    ],
)
def test_a_contradiction_is_named(changes: dict[str, Any], kind: str, what: str) -> None:
    (found,) = _align(**changes).contradictions
    assert (found.kind, found.what) == (kind, what)
    assert str(found) == f"m.playbook.yaml:1: m: {what}"


def test_family_and_size_are_read_from_the_repository_when_they_are_not_stated() -> None:
    result = _align(family=None, size_variant=None, expected_num_layers=25)
    (found,) = result.contradictions
    assert found.what == "expected_num_layers is 25, 24 in acme.yaml"
    assert result.notices == ("m.playbook.yaml: does not state family, size_variant",)


def test_what_is_not_stated_is_a_notice() -> None:
    result = _align(expected_hidden_dim=None)
    assert result.notices == ("m.playbook.yaml: does not state expected_hidden_dim",)
    assert result.contradictions == ()


def test_a_tuned_model_elsewhere_is_a_notice() -> None:
    result = _align(hf_repo="some/Tuned-0.5B")
    assert result.notices == (
        "m.playbook.yaml: some/Tuned-0.5B does not match acme/Model-*, the pattern of acme.yaml",
    )
    assert result.contradictions == ()


def test_a_model_of_no_family_is_said_to_be_so() -> None:
    result = _align(family="unheard-of")
    assert (result.compared, result.without_contract) == ((), ("m",))
    result = _align(family=None, hf_repo="nobody/x-1B")
    assert result.without_contract == ("m",)


def test_the_rows_of_the_registry() -> None:
    rows = {"acme/Model-7B": "medium", "acme/Model-0.5B": "large", "acme/Model-9B": "tiny"}
    text = EMPTY_REGISTRY.decode() + "".join(
        ",".join([repo, "f", "p", size, *[""] * (len(COLUMNS) - 4)]) + "\n"
        for repo, size in rows.items()
    )
    registry = read_registry(text.encode(), source="models.csv")
    result = align(_CONTRACTS, [], registry)
    (found,) = result.contradictions
    assert str(found) == "models.csv: acme/Model-0.5B: size_category is large, tiny in acme.yaml"
    assert result.compared == ("acme/Model-7B", "acme/Model-0.5B")
    assert result.without_contract == ("acme/Model-9B",)
