import json
from pathlib import Path

import pytest

from aprqa_ci.data_files import bundled_model
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.resolve import ModelNotFoundError, resolve_model
from aprqa_ci.planning.plan import PlannedModel
from aprqa_ci.vocabulary import ModelFormat, SizeCategory

GGUF, SAFETENSORS, APR = ModelFormat.GGUF, ModelFormat.SAFETENSORS, ModelFormat.APR
REPO = "Org/Tiny-1.5B"
COMMIT, OTHER = "a" * 40, "b" * 40


def touch(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def resolve(
    home: Path,
    format_: ModelFormat = GGUF,
    quantization: str | None = None,
    *,
    repo: str = REPO,
    local: Path | None = None,
    revision: str | None = None,
    env: dict[str, str] | None = None,
) -> ModelFiles:
    model = PlannedModel(
        hf_repo=repo,
        revision=revision,
        local_path=None if local is None else str(local),
        formats=(format_,),
        size_category=SizeCategory.TINY,
    )
    return resolve_model(
        model, format=format_, quantization=quantization, environment=env or {}, home=home
    )


class Hub:
    """Builds a Hugging Face cache as huggingface_hub lays it out."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, repo: str = REPO) -> Path:
        return self.root / f"models--{repo.replace('/', '--')}"

    def add(self, name: str, *, repo: str = REPO, commit: str = COMMIT, data: bytes = b"x") -> Path:
        blob = touch(self.folder(repo) / "blobs" / f"blob-{commit[0]}-{name}", data)
        link = self.folder(repo) / "snapshots" / commit / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
        return link

    def ref(self, name: str = "main", *, repo: str = REPO, commit: str = COMMIT) -> None:
        touch(self.folder(repo) / "refs" / name, commit.encode())


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path / ".cache" / "huggingface" / "hub")


# --- local_path -------------------------------------------------------------------------------


def test_a_local_file_is_taken_as_it_is(tmp_path: Path) -> None:
    file = touch(tmp_path / "m" / "anything.gguf")
    found = resolve(tmp_path, GGUF, "q4_0", local=file)
    assert found.weights == (file,)
    assert (found.source, found.directory, found.revision) == ("local_path", file.parent, None)
    assert (found.format, found.quantization) == (GGUF, "q4_0")


def test_a_local_file_of_another_kind_is_not_taken(tmp_path: Path) -> None:
    file = touch(tmp_path / "m.Q8_0.gguf")
    with pytest.raises(ModelNotFoundError, match="the name says q8_0, not q4_0"):
        resolve(tmp_path, GGUF, "q4_0", local=file)
    with pytest.raises(ModelNotFoundError, match=r"is not a \.safetensors file"):
        resolve(tmp_path, SAFETENSORS, local=file)


def test_a_local_directory_may_be_flat_or_have_a_folder_per_format(tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    touch(flat / "config.json")
    weights = touch(flat / "model.safetensors")
    assert resolve(tmp_path, SAFETENSORS, local=flat).weights == (weights,)

    parted = tmp_path / "parted"
    touch(parted / "config.json")
    inner = touch(parted / "safetensors" / "model.safetensors")
    apr = touch(parted / "apr" / "model.apr")
    found = resolve(tmp_path, SAFETENSORS, local=parted)
    assert (found.weights, found.directory) == ((inner,), parted)
    assert resolve(tmp_path, APR, local=parted).weights == (apr,)

    touch(parted / "safetensors" / "config.json")
    assert resolve(tmp_path, SAFETENSORS, local=parted).directory == parted / "safetensors"


def test_an_only_safetensors_file_may_have_any_name(tmp_path: Path) -> None:
    touch(tmp_path / "m" / ".hidden.safetensors")
    file = touch(tmp_path / "m" / "tiny.safetensors")
    assert resolve(tmp_path, SAFETENSORS, local=tmp_path / "m").weights == (file,)
    touch(tmp_path / "m" / "adapter.safetensors")
    with pytest.raises(ModelNotFoundError, match=r"adapter\.safetensors, tiny\.safetensors"):
        resolve(tmp_path, SAFETENSORS, local=tmp_path / "m")


def test_the_search_goes_on_when_the_local_path_lacks_the_format(tmp_path: Path, hub: Hub) -> None:
    touch(tmp_path / "m" / "model.safetensors")
    hub.ref()
    link = hub.add("model.gguf")
    assert resolve(tmp_path, GGUF, local=tmp_path / "m").weights == (link,)


# --- several files ----------------------------------------------------------------------------


def write_index(directory: Path, weight_map: object) -> Path:
    text = json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map})
    return touch(directory / "model.safetensors.index.json", text.encode())


def test_an_index_brings_all_its_shards(tmp_path: Path) -> None:
    local = tmp_path / "m"
    index = write_index(
        local, {"a": "m-2.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors"}
    )
    shards = tuple(touch(local / f"m-{number}.safetensors") for number in (1, 2))
    assert resolve(tmp_path, SAFETENSORS, local=local).weights == shards
    assert resolve(tmp_path, SAFETENSORS, local=index).weights == shards
    with pytest.raises(ModelNotFoundError, match="is an index of SafeTensors files, not gguf"):
        resolve(tmp_path, GGUF, local=index)


def test_a_missing_shard_ends_the_search_and_is_named(tmp_path: Path, hub: Hub) -> None:
    hub.ref()
    hub.add("model.safetensors")
    write_index(tmp_path / "m", {"a": "m-1.safetensors", "b": "m-2.safetensors"})
    touch(tmp_path / "m" / "m-1.safetensors")
    with pytest.raises(ModelNotFoundError, match=r"1 of 2 shards are missing: m-2\.safetensors"):
        resolve(tmp_path, SAFETENSORS, local=tmp_path / "m")


def test_shards_without_their_index_are_not_a_model(tmp_path: Path) -> None:
    touch(tmp_path / "m" / "model-00001-of-00002.safetensors")
    with pytest.raises(ModelNotFoundError, match=r"index\.json is missing for the shards"):
        resolve(tmp_path, SAFETENSORS, local=tmp_path / "m")


@pytest.mark.parametrize(
    "name",
    [
        "../out.safetensors",
        "a/../../out.safetensors",
        "/etc/out.safetensors",
        "..\\out.safetensors",
        "a\x00.safetensors",
        "/etc/passwd",
        "config.json",
    ],
)
def test_an_index_cannot_lead_out_of_its_directory(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "out.safetensors")
    touch(tmp_path / "m" / "config.json")
    write_index(tmp_path / "m", {"a": name})
    with pytest.raises(ModelNotFoundError, match="leads out of its directory"):
        resolve(tmp_path, SAFETENSORS, local=tmp_path / "m")


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"{", "not valid JSON"), (b"[]", "Expected `object`"), (b'{"weight_map": {}}', "no file")],
)
def test_a_broken_index_is_named(tmp_path: Path, text: bytes, message: str) -> None:
    touch(tmp_path / "m" / "model.safetensors.index.json", text)
    with pytest.raises(ModelNotFoundError, match=message):
        resolve(tmp_path, SAFETENSORS, local=tmp_path / "m")


def test_a_split_gguf_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    local = tmp_path / "m"
    parts = tuple(touch(local / f"t-q8_0-0000{number}-of-00003.gguf") for number in (1, 2, 3))
    assert resolve(tmp_path, GGUF, "q8_0", local=local).weights == parts
    assert resolve(tmp_path, GGUF, "q8_0", local=parts[0]).weights == parts
    parts[1].unlink()
    with pytest.raises(ModelNotFoundError, match=r"1 of 3 parts are missing: t-q8_0-00002"):
        resolve(tmp_path, GGUF, "q8_0", local=local)


def test_a_part_number_beyond_the_total_is_refused(tmp_path: Path) -> None:
    file = touch(tmp_path / "m" / "t-00009-of-00003.gguf")
    with pytest.raises(ModelNotFoundError, match="that number cannot be"):
        resolve(tmp_path, GGUF, local=file.parent)


# --- quantization -----------------------------------------------------------------------------


EVERY_NAME = (
    "Tiny-Q4_K_M",
    "tiny-q4_k_s",
    "Tiny.Q4_1",
    "tiny-q8_0",
    "tiny-fp16",
    "tiny-bf16",
    "tiny-IQ4_XS",
    "tiny-q9_new",
    "mmproj-tiny-f16",
    "tiny-f16-and-back.Q5_K_M",
)


@pytest.mark.parametrize(
    ("quantization", "name"),
    [
        ("q4_k_m", "Tiny-Q4_K_M.gguf"),
        ("Q4_K_S", "tiny-q4_k_s.gguf"),
        ("q4_1", "Tiny.Q4_1.gguf"),
        ("q8_0", "tiny-q8_0.gguf"),
        ("f16", "tiny-fp16.gguf"),
        ("bf16", "tiny-bf16.gguf"),
        ("iq4_xs", "tiny-IQ4_XS.gguf"),
        ("q9_new", "tiny-q9_new.gguf"),
    ],
)
def test_the_file_is_chosen_by_the_quantization_in_its_name(
    tmp_path: Path, quantization: str, name: str
) -> None:
    local = tmp_path / "m"
    for every in EVERY_NAME:
        touch(local / f"{every}.gguf")
    assert [path.name for path in resolve(tmp_path, GGUF, quantization, local=local).weights] == [
        name
    ]


@pytest.mark.parametrize("quantization", ["q4_k", "q4", "k_m", "q4_0", "xq4_k_m", "4_k_m"])
def test_a_part_of_a_token_is_not_the_token(tmp_path: Path, quantization: str) -> None:
    touch(tmp_path / "m" / "tiny-q4_k_m.gguf")
    with pytest.raises(ModelNotFoundError, match=r"; it has tiny-q4_k_m\.gguf"):
        resolve(tmp_path, GGUF, quantization, local=tmp_path / "m")


def test_several_files_that_match_are_named(tmp_path: Path) -> None:
    for name in ("a-q4_0", "b.Q4_0", "c-q8_0"):
        touch(tmp_path / "m" / f"{name}.gguf")
    with pytest.raises(
        ModelNotFoundError, match=r"2 GGUF files match: a-q4_0\.gguf, b\.Q4_0\.gguf"
    ):
        resolve(tmp_path, GGUF, "q4_0", local=tmp_path / "m")
    with pytest.raises(ModelNotFoundError, match=r"3 GGUF files match: .*name a quantization"):
        resolve(tmp_path, GGUF, local=tmp_path / "m")


def test_a_quantization_may_have_a_folder_of_its_own(tmp_path: Path) -> None:
    touch(tmp_path / "m" / "Q8_0" / "t-Q8_0.gguf")
    file = touch(tmp_path / "m" / "Q4_0" / "t-Q4_0.gguf")
    found = resolve(tmp_path, GGUF, "q4_0", local=tmp_path / "m")
    assert found.weights == (file,)


# --- the Hugging Face cache -------------------------------------------------------------------


def test_without_a_revision_it_is_main_and_never_another_snapshot(tmp_path: Path, hub: Hub) -> None:
    hub.add("model.safetensors", commit=OTHER)
    with pytest.raises(ModelNotFoundError, match="does not know the revision main"):
        resolve(tmp_path, SAFETENSORS)
    hub.ref()
    with pytest.raises(ModelNotFoundError, match="holds no snapshot of revision main"):
        resolve(tmp_path, SAFETENSORS)
    link = hub.add("model.safetensors")
    found = resolve(tmp_path, SAFETENSORS)
    assert (found.weights, found.revision) == ((link,), COMMIT)
    assert (found.source, found.directory) == ("huggingface-cache", link.parent)


@pytest.mark.parametrize("revision", [OTHER, "v1.0", "refs/pr/7"])
def test_a_revision_may_be_a_commit_or_a_ref(tmp_path: Path, hub: Hub, revision: str) -> None:
    hub.ref()
    hub.ref("v1.0", commit=OTHER)
    hub.ref("refs/pr/7", commit=OTHER)
    hub.add("model.safetensors")
    link = hub.add("model.safetensors", commit=OTHER)
    found = resolve(tmp_path, SAFETENSORS, revision=revision)
    assert (found.weights, found.revision) == ((link,), OTHER)


@pytest.mark.parametrize("revision", ["../../x", "/etc/passwd", "a/../b", " ", "-x", "c" * 40])
def test_a_revision_that_is_not_there_is_not_replaced(
    tmp_path: Path, hub: Hub, revision: str
) -> None:
    hub.ref()
    hub.add("model.safetensors")
    with pytest.raises(ModelNotFoundError, match="revision"):
        resolve(tmp_path, SAFETENSORS, revision=revision)


@pytest.mark.parametrize("content", ["../../../../etc", "main", "", "a" * 5000])
def test_a_ref_that_holds_no_commit_is_refused(tmp_path: Path, hub: Hub, content: str) -> None:
    hub.ref(commit=content)
    hub.add("model.safetensors")
    with pytest.raises(ModelNotFoundError, match=r"does not hold a commit|larger than"):
        resolve(tmp_path, SAFETENSORS)


@pytest.mark.parametrize(
    ("env", "where"),
    [
        ({}, ".cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "{home}/xdg"}, "xdg/huggingface/hub"),
        ({"HF_HOME": "{home}/hf", "XDG_CACHE_HOME": "{home}/xdg"}, "hf/hub"),
        ({"HF_HOME": "~/hf"}, "hf/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "{home}/old", "HF_HOME": "{home}/hf"}, "old"),
        ({"HF_HUB_CACHE": "{home}/new", "HUGGINGFACE_HUB_CACHE": "{home}/old"}, "new"),
        ({"HF_HUB_CACHE": "$BASE/new", "BASE": "{home}"}, "new"),
        ({"HF_HUB_CACHE": "", "HF_HOME": "{home}/hf"}, "hf/hub"),
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(
    tmp_path: Path, env: dict[str, str], where: str
) -> None:
    env = {name: value.format(home=tmp_path) for name, value in env.items()}
    for place in (".cache/huggingface/hub", "xdg/huggingface/hub", "hf/hub", "old", "new"):
        hub = Hub(tmp_path / place)
        hub.ref()
        hub.add("model.gguf")
    found = resolve(tmp_path, GGUF, env=env)
    assert found.weights[0].is_relative_to(tmp_path / where)


def test_gguf_files_may_be_in_the_sibling_repository(tmp_path: Path, hub: Hub) -> None:
    hub.ref()
    hub.add("model.safetensors")
    hub.ref(repo=f"{REPO}-GGUF", commit=OTHER)
    link = hub.add("tiny-q4_k_m.gguf", repo=f"{REPO}-GGUF", commit=OTHER)
    hub.add("model.safetensors", repo=f"{REPO}-GGUF", commit=OTHER)
    found = resolve(tmp_path, GGUF, "q4_k_m", revision=COMMIT)
    assert (found.weights, found.revision) == ((link,), OTHER)
    assert resolve(tmp_path, SAFETENSORS).revision == COMMIT


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_link_out_of_the_cache_is_refused(tmp_path: Path, hub: Hub, name: str) -> None:
    secret = touch(tmp_path / "secret")
    hub.ref()
    hub.add("model.safetensors")
    link = hub.folder() / "snapshots" / COMMIT / name
    link.unlink(missing_ok=True)
    link.symlink_to(secret)
    with pytest.raises(ModelNotFoundError, match="the link leads out of the cache"):
        resolve(tmp_path, SAFETENSORS)


def test_a_broken_link_is_a_missing_file(tmp_path: Path, hub: Hub) -> None:
    hub.ref()
    hub.add("model.safetensors").resolve().unlink()
    with pytest.raises(ModelNotFoundError, match="no SafeTensors file"):
        resolve(tmp_path, SAFETENSORS)


@pytest.mark.parametrize(
    "repo", ["../x", "a/../b", "a/b/c", "noslash", "a--b/c", "a/b..c", "/a/b", "a/.b", "a\n/b", ""]
)
def test_a_hostile_repository_id_reaches_no_cache(tmp_path: Path, repo: str) -> None:
    with pytest.raises(ModelNotFoundError, match="is not a repository id"):
        resolve(tmp_path, SAFETENSORS, repo=repo)


# --- the other caches -------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["Org/Tiny-1.5B", "tiny-1-5b"])
def test_the_apr_cache_has_two_layouts(tmp_path: Path, folder: str) -> None:
    base = tmp_path / ".cache" / "apr-models" / folder
    file = touch(base / "gguf" / "model-q4_0.gguf")
    found = resolve(tmp_path, GGUF, "q4_0")
    assert (found.weights, found.source, found.revision) == ((file,), "apr-cache", None)


def test_the_apr_cache_may_link_into_the_hub_and_nowhere_else(tmp_path: Path, hub: Hub) -> None:
    base = tmp_path / ".cache" / "apr-models" / "Org" / "Tiny-1.5B" / "safetensors"
    base.mkdir(parents=True)
    (base / "model.safetensors").symlink_to(hub.add("model.safetensors"))
    assert resolve(tmp_path, SAFETENSORS).source == "apr-cache"
    (base / "model.safetensors").unlink()
    (base / "model.safetensors").symlink_to(touch(tmp_path / "elsewhere"))
    with pytest.raises(ModelNotFoundError, match="leads out of the cache"):
        resolve(tmp_path, SAFETENSORS)


def test_our_own_cache_is_the_last_place(tmp_path: Path, hub: Hub) -> None:
    file = touch(tmp_path / ".cache" / "aprqa" / "models" / "tiny-1.5b" / "t.Q4_1.gguf")
    assert resolve(tmp_path, GGUF, "q4_1").weights == (file,)
    assert resolve(tmp_path, GGUF, "q4_1").source == "aprqa-cache"
    moved = touch(tmp_path / "own" / "models" / "tiny-1.5b" / "t.Q4_1.gguf")
    assert resolve(tmp_path, GGUF, env={"APRQA_CACHE": str(tmp_path / "own")}).weights == (moved,)
    hub.ref()
    hub.add("t-Q4_1.gguf")
    assert resolve(tmp_path, GGUF, "q4_1").source == "huggingface-cache"


def test_the_bundled_model_is_in_the_package_unless_a_revision_is_pinned(tmp_path: Path) -> None:
    found = resolve(tmp_path, GGUF, "q8_0", repo="aprqa/aprqa-tiny")
    assert found.weights == (bundled_model() / "aprqa-tiny-q8_0.gguf",)
    assert found.source == "bundled"
    own = touch(tmp_path / "own" / "x-q8_0.gguf")
    assert resolve(tmp_path, GGUF, repo="aprqa/aprqa-tiny", local=own).weights == (own,)
    with pytest.raises(ModelNotFoundError):
        resolve(tmp_path, GGUF, "q8_0", repo="aprqa/aprqa-tiny", revision="a" * 40)
    with pytest.raises(ModelNotFoundError):
        resolve(tmp_path, GGUF, "q8_0", repo="other/aprqa-tiny")


def test_no_cache_comes_before_the_package(tmp_path: Path, hub: Hub) -> None:
    """What a cache has under the bundled model's name is somebody else's."""
    hub.ref(repo="aprqa/aprqa-tiny")
    hub.add("model.safetensors", repo="aprqa/aprqa-tiny")
    found = resolve(tmp_path, SAFETENSORS, repo="aprqa/aprqa-tiny")
    assert (found.source, found.directory) == ("bundled", bundled_model())
    pinned = resolve(tmp_path, SAFETENSORS, repo="aprqa/aprqa-tiny", revision="main")
    assert pinned.source == "huggingface-cache"


def test_the_message_names_every_place(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(tmp_path, GGUF, "q4_0", local=tmp_path / "none")
    text = str(caught.value)
    assert text.startswith("Org/Tiny-1.5B (gguf q4_0) is not on this machine; looked at:\n")
    places = (
        "none",
        "hub/models--Org--Tiny-1.5B:",
        "hub/models--Org--Tiny-1.5B-GGUF:",
        "apr-models/Org/Tiny-1.5B",
        "apr-models/tiny-1-5b",
        "aprqa/models/tiny-1.5b",
    )
    for place in places:
        assert place in text
    assert len(caught.value.looked_at) == 6


def test_a_place_that_cannot_be_read_is_not_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = tmp_path / "m"
    touch(local / "a.gguf")
    file = touch(tmp_path / ".cache" / "apr-models" / "tiny-1-5b" / "b.gguf")
    original = Path.iterdir

    def refuse(self: Path) -> object:
        if self == local:
            raise PermissionError(13, "Permission denied", str(self))
        return original(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert resolve(tmp_path, GGUF, local=local).weights == (file,)


def test_nothing_is_written(tmp_path: Path, hub: Hub) -> None:
    hub.ref()
    hub.add("model.safetensors")
    before = sorted(tmp_path.rglob("*"))
    resolve(tmp_path, SAFETENSORS)
    with pytest.raises(ModelNotFoundError):
        resolve(tmp_path, APR)
    assert sorted(tmp_path.rglob("*")) == before
