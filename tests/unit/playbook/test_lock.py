import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.playbook.load import LoadedPlaybook, load_playbook, load_playbooks, parse_playbook
from aprqa_ci.playbook.lock import (
    LEGACY_LOCK_PATH,
    LOCK_PATH,
    LockedModel,
    changes_since,
    lock_of,
    read_lock,
    require_locked,
)
from aprqa_ci.wire import decode_wire, pretty_json

_TEXT = """\
name: tiny-mvp
version: "1.0.0"
model: {hf_repo: org/tiny, size_category: tiny, formats: [gguf]}
test_matrix: {modalities: [run], scenario_count: 10}
"""
_NAME = "playbooks/models/tiny-mvp.playbook.yaml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one playbook, locked."""
    path = tmp_path / _NAME
    path.parent.mkdir(parents=True)
    path.write_text(_TEXT, encoding="utf-8")
    (tmp_path / LOCK_PATH).write_bytes(pretty_json(lock_of([load_playbook(path)], root=tmp_path)))
    return tmp_path


def _refused(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        require_locked([load_playbook(root / _NAME)], read_lock(root), root=root)
    return str(caught.value)


def test_a_playbook_that_is_as_it_was(root: Path) -> None:
    lock, loaded = read_lock(root), load_playbook(root / _NAME)
    assert lock.by_path[_NAME].sha256 == loaded.digest
    require_locked([loaded], lock, root=root)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("scenario_count: 10", "scenario_count: 1", "test_matrix.scenario_count: 10 -> 1"),
        ("formats: [gguf]", "formats: [gguf, apr]", 'model.formats: ["gguf"] -> ["gguf","apr"]'),
        ("size_category: tiny, ", "", "only in comments, order or spelling"),
        ("modalities: [run], ", "", 'test_matrix.modalities: ["run"] -> ["run","chat","serve"]'),
        ("\nversion", " # a word\nversion", "only in comments, order or spelling"),
        ("hf_repo: org/tiny", "hf_repo: org/tiny, family: llama", 'family: absent -> "llama"'),
    ],
)
def test_a_change_is_refused_and_told(root: Path, old: str, new: str, told: str) -> None:
    path = root / _NAME
    path.write_text(_TEXT.replace(old, new), encoding="utf-8")
    message = _refused(root)
    assert f"{path}: the playbook has changed since it was locked: " in message
    assert told in message
    assert "(if that is meant: aprqa lock)" in message


def test_many_changes_and_long_values_are_cut(root: Path) -> None:
    sections = "".join(f"  k{number:02}: {'v' * 200}\n" for number in range(20))
    (root / _NAME).write_text(f"{_TEXT}metadata:\n{sections}", encoding="utf-8")
    message = _refused(root)
    assert "and 8 more" in message
    assert "v…" in message
    assert "v" * 100 not in message


def test_a_playbook_that_nobody_locked_is_refused(root: Path) -> None:
    other = root / "playbooks" / "other.playbook.yaml"
    other.write_text(_TEXT, encoding="utf-8")
    loaded = [load_playbook(other), load_playbook(root / _NAME)]
    with pytest.raises(InputError, match=r"is not in playbook\.lock\.json") as caught:
        require_locked(loaded, read_lock(root), root=root)
    assert len(caught.value.problems) == 1


def test_all_that_is_wrong_is_said_at_once(root: Path) -> None:
    (root / "playbooks" / "other.playbook.yaml").write_text(
        _TEXT.replace("tiny-mvp", "other"), encoding="utf-8"
    )
    (root / _NAME).write_text(_TEXT.replace("10", "11"), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        require_locked(load_playbooks([root]), read_lock(root), root=root)
    assert len(caught.value.problems) == 2


def test_without_a_lock_there_is_a_way_to_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no lock \(make it: aprqa lock\)"):
        read_lock(tmp_path)


def test_the_lock_is_the_same_in_any_order(tmp_path: Path) -> None:
    loaded = [
        parse_playbook(_TEXT.replace("tiny-mvp", name).encode(), path=tmp_path / f"{name}.yaml")
        for name in ("b", "a", "c")
    ]
    assert pretty_json(lock_of(loaded, root=tmp_path)) == pretty_json(
        lock_of(loaded[::-1], root=tmp_path)
    )


def test_a_playbook_outside_the_repository_is_known_by_its_whole_path(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    loaded = parse_playbook(_TEXT.encode(), path=tmp_path / "out.playbook.yaml")
    lock = lock_of([loaded], root=tmp_path / "in")
    assert list(lock.playbooks) == [str(tmp_path / "out.playbook.yaml")]


def test_what_models_were_resolved_to_is_kept_and_compared(root: Path) -> None:
    loaded = load_playbook(root / _NAME)
    model = LockedModel(commit="a" * 40, files={"model.gguf": "b" * 64})
    foreign = LockedModel(commit="c" * 40, files={})
    sibling, own = ("org/tiny-GGUF", "main"), ("org/tiny", "main")
    models = {sibling: model, ("org/other", "main"): foreign, ("org/tiny", "v2"): foreign}
    (root / LOCK_PATH).write_bytes(pretty_json(lock_of([loaded], root=root, models=models)))
    lock = read_lock(root)
    assert lock.by_path[_NAME].models == {"org/tiny-GGUF": model}
    require_locked([loaded], lock, root=root, models=models)
    require_locked([loaded], lock, root=root, models={own: foreign})
    moved = LockedModel(commit="d" * 40, files={"model.gguf": "e" * 64, "more.gguf": "b" * 64})
    with pytest.raises(InputError) as caught:
        require_locked([loaded], lock, root=root, models={sibling: moved})
    message = str(caught.value)
    assert "org/tiny-GGUF was at aaaaaaaaaaaa and is at dddddddddddd" in message
    assert "org/tiny-GGUF: model.gguf is another file" in message


def test_a_model_is_locked_at_the_revision_that_the_playbook_asks_for(tmp_path: Path) -> None:
    models = {
        ("org/tiny", "main"): LockedModel(commit="a" * 40, files={}),
        ("org/tiny", "v2"): LockedModel(commit="b" * 40, files={}),
        ("org/tiny-GGUF", "main"): LockedModel(commit="c" * 40, files={}),
    }
    texts = {
        "main": _TEXT,
        "v2": _TEXT.replace("hf_repo: org/tiny", "hf_repo: org/tiny, revision: v2"),
    }
    loaded = [
        parse_playbook(text.encode(), path=tmp_path / f"{name}.playbook.yaml")
        for name, text in texts.items()
    ]
    lock = lock_of(loaded, root=tmp_path, models=models)
    commits = {
        path: {repo: model.commit[0] for repo, model in entry.models.items()}
        for path, entry in lock.playbooks.items()
    }
    assert commits == {
        "main.playbook.yaml": {"org/tiny": "a", "org/tiny-GGUF": "c"},
        "v2.playbook.yaml": {"org/tiny": "b", "org/tiny-GGUF": "c"},
    }


def test_what_was_locked_of_a_model_stays_until_it_is_resolved_again(root: Path) -> None:
    loaded = load_playbook(root / _NAME)
    old, new, foreign = (LockedModel(commit=c * 40, files={}) for c in "abc")
    first = lock_of([loaded], root=root, models={("org/tiny", "main"): old}).playbooks
    assert lock_of([loaded], root=root, before=first).playbooks == first
    both = {("org/tiny", "main"): new, ("org/tiny-GGUF", "main"): foreign}
    second = lock_of([loaded], root=root, models=both, before=first).playbooks
    assert second[_NAME].models == {"org/tiny": new, "org/tiny-GGUF": foreign}
    text = _TEXT.replace("org/tiny", "org/other").encode()
    other = parse_playbook(text, path=root / _NAME)
    assert lock_of([other], root=root, before=second).playbooks[_NAME].models == {}


def _legacy(root: Path, text: str) -> None:
    (root / LOCK_PATH).unlink()
    (root / LEGACY_LOCK_PATH).write_text(text, encoding="utf-8")


def test_the_lock_of_the_existing_tool_is_read(root: Path) -> None:
    loaded = load_playbook(root / _NAME)
    entry = (
        f"entries:\n  tiny-mvp:\n    sha256: {loaded.digest}\n    locked_fields: [test_matrix]\n"
    )
    _legacy(root, entry)
    require_locked([loaded], read_lock(root), root=root)
    other = entry.replace(loaded.digest, "a" * 64)
    (root / LEGACY_LOCK_PATH).write_text(other, encoding="utf-8")
    assert f"sha256 {'a' * 12} -> {loaded.digest[:12]}" in _refused(root)


@pytest.mark.parametrize("text", ["entries: 1\n", "entry: {}\n", "entries: {x: {sha256: abc}}\n"])
def test_a_damaged_lock_is_refused(root: Path, text: str) -> None:
    _legacy(root, text)
    with pytest.raises(InputError, match="not a lock"):
        read_lock(root)
    (root / LOCK_PATH).write_text(json.dumps({"schema": "aprqa-lock/1", "playbook": {}}))
    with pytest.raises(InputError, match="perhaps 'playbooks' is meant"):
        read_lock(root)


def _loaded(**matrix: Any) -> LoadedPlaybook:
    data = {
        "name": "x",
        "version": "1.0.0",
        "model": {"hf_repo": "a/b", "size_category": "tiny"},
        "test_matrix": matrix,
    }
    return parse_playbook(json.dumps(data).encode(), path=Path("x.yaml"))


@given(
    st.fixed_dictionaries({"seed": st.integers(0, 9), "timeout_ms": st.integers(1000, 1009)}),
    st.fixed_dictionaries({"seed": st.integers(0, 9), "timeout_ms": st.integers(1000, 1009)}),
)
def test_exactly_the_fields_that_differ_are_told(
    before: dict[str, int], now: dict[str, int]
) -> None:
    entry = lock_of([_loaded(**before)], root=Path()).playbooks["x.yaml"]
    # As it comes back from the file, lists and all.
    entry = decode_wire(pretty_json(entry), type(entry), source="lock")
    wanted = [
        f"test_matrix.{key}: {before[key]} -> {now[key]}"
        for key in sorted(before)
        if before[key] != now[key]
    ]
    assert changes_since(_loaded(**now), entry) == wanted


def test_the_lock_of_the_corpus(corpus: Path) -> None:
    lock = read_lock(corpus.parent)
    loaded = load_playbooks([corpus / "models"])
    digests = {entry.sha256 for entry in lock.by_stem.values()}
    assert len({each.digest for each in loaded} & digests) == len(loaded) > 10
    require_locked(loaded, lock, root=corpus.parent)
