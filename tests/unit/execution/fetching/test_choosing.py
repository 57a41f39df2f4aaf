import pytest

from aprqa_ci.execution.fetching.choosing import choose_files, wanted_variants
from aprqa_ci.execution.fetching.hub import HubError, HubFile, Listing
from aprqa_ci.execution.weight_files import WeightsAbsentError, WeightsFaultyError
from aprqa_ci.vocabulary import ModelFormat
from tests.playbooks import planned, playbook_data

GGUF, SAFETENSORS = ModelFormat.GGUF, ModelFormat.SAFETENSORS
INDEX = "model.safetensors.index.json"


def chosen(
    files: dict[str, int],
    format_: ModelFormat = GGUF,
    quantization: str | None = "q8_0",
    index: bytes = b"",
) -> set[str]:
    listed = tuple(HubFile(path=path, size=size, digest="0" * 40) for path, size in files.items())
    listing = Listing(repo="org/tiny", name="org/tiny", commit="0" * 40, files=listed)
    found = choose_files(
        listing,
        format=format_,
        quantization=quantization if format_ is GGUF else None,
        read=lambda _: index,
    )
    return {file.path for file in found}


def test_one_quantization_with_what_decides_its_answers() -> None:
    files = ["a-q8_0.gguf", "a-q4_0.gguf", "config.json", "README.md", "x/config.json"]
    assert chosen(dict.fromkeys(files, 9)) == {"a-q8_0.gguf", "config.json"}


def test_all_parts_in_a_folder_of_their_own_with_the_configuration_beside_it() -> None:
    parts = [f"Q8_0/a-Q8_0-0000{n}-of-00002.gguf" for n in (1, 2)]
    assert chosen(dict.fromkeys([*parts, "Q4_0/a-Q4_0.gguf", "config.json"], 9)) >= set(parts)


def test_a_folder_named_as_the_format_comes_first() -> None:
    files = ["gguf/a-q8_0.gguf", "gguf/config.json", "b-q8_0.gguf"]
    assert chosen(dict.fromkeys(files, 9)) == {"gguf/a-q8_0.gguf", "gguf/config.json"}


def test_the_shards_that_the_index_names() -> None:
    files = dict.fromkeys(["m1.safetensors", "m2.safetensors", "other.safetensors", INDEX], 9)
    index = b'{"weight_map": {"a": "m1.safetensors", "b": "m2.safetensors"}}'
    wanted = {"m1.safetensors", "m2.safetensors", INDEX}
    assert chosen(files, SAFETENSORS, index=index) == wanted


def test_a_part_that_the_repository_lacks_is_named() -> None:
    with pytest.raises(WeightsFaultyError, match=r"a-q8_0-00002-of-00002\.gguf"):
        chosen({"a-q8_0-00001-of-00002.gguf": 9})


@pytest.mark.parametrize("index", [b"no json", b'{"weight_map": {"a": "../x.safetensors"}}'])
def test_an_index_that_makes_no_sense_is_refused(index: bytes) -> None:
    with pytest.raises(WeightsFaultyError, match="index"):
        chosen({INDEX: 9}, SAFETENSORS, index=index)


def test_an_index_of_no_end_is_not_read() -> None:
    with pytest.raises(WeightsFaultyError, match="is the most that is read"):
        chosen({INDEX: 1 << 40}, SAFETENSORS)


def test_sizes_that_cannot_be() -> None:
    with pytest.raises(HubError, match="is empty"):
        chosen({"a-q8_0.gguf": 0})
    with pytest.raises(HubError, match="beside the weights"):
        chosen({"a-q8_0.gguf": 9, "config.json": 1 << 40})


@pytest.mark.parametrize("name", ["../a-q8_0.gguf", "/a-q8_0.gguf", "x/../../a-q8_0.gguf"])
def test_names_that_lead_out_are_not_seen(name: str) -> None:
    with pytest.raises(WeightsAbsentError):
        chosen({name: 9})


@pytest.mark.parametrize("name", ["a\\b-q8_0.gguf", "a\n-q8_0.gguf", "./a-q8_0.gguf", "a" * 600])
def test_names_that_no_repository_has_are_refused(name: str) -> None:
    name = name if name.endswith("gguf") else f"{name}-q8_0.gguf"
    with pytest.raises(HubError, match="no name of a file"):
        chosen({name: 9})


def test_the_ground_truth_is_wanted_as_well_and_each_thing_once() -> None:
    data = playbook_data(
        model={"formats": ["safetensors", "gguf"], "quantizations": ["q8_0", "q4_0"]},
        test_matrix={"modalities": ["run", "chat"]},
    )
    plan = planned(data, tier="mvp")
    (cell,) = (each for each in plan.cells if each.id == "tiny:run-cpu-gguf-q8_0")
    names = [each.name for each in wanted_variants(plan, {cell.id})]
    assert names == ["gguf-q8_0", "safetensors"]
    everything = wanted_variants(plan, {each.id for each in plan.cells})
    assert sorted(each.name for each in everything) == ["gguf-q4_0", "gguf-q8_0", "safetensors"]
