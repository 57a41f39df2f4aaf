from pathlib import Path
from typing import Literal

import pytest

from aprqa_ci import data_files
from aprqa_ci.data_files import data_directory, load_data
from aprqa_ci.errors import AprqaError
from aprqa_ci.wire import WireModel


class Thing(WireModel, frozen=True, kw_only=True):
    schema: Literal["thing/1"]
    sizes: tuple[int, ...]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(data_files, "data_directory", lambda: tmp_path)
    data_files._parsed.cache_clear()
    return tmp_path


def test_a_file_is_read_into_its_model(folder: Path) -> None:
    (folder / "thing.yaml").write_text("schema: thing/1\nsizes: [1, 2]\n", encoding="utf-8")
    assert load_data("thing.yaml", Thing) == Thing(schema="thing/1", sizes=(1, 2))


@pytest.mark.parametrize(
    "text",
    ["schema: thing/2\nsizes: []\n", "schema: thing/1\n", "sizes: [", "schema: thing/1\nsise: 1\n"],
)
def test_damage_is_our_failure_and_names_the_file(folder: Path, text: str) -> None:
    (folder / "thing.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(AprqaError, match=r"the data file thing\.yaml .* is damaged") as caught:
        load_data("thing.yaml", Thing)
    assert caught.value.exit_code == 3


def test_a_missing_file_is_our_failure_too(folder: Path) -> None:
    assert not (folder / "none.yaml").exists()
    with pytest.raises(AprqaError, match=r"none\.yaml"):
        load_data("none.yaml", Thing)


def test_the_package_has_its_data() -> None:
    names = {each.name for each in data_directory().iterdir()}
    assert {"gates.yaml", "tiers.yaml", "suites", "policies"} <= names
