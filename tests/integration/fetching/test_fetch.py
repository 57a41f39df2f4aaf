"""Fetching with the real library from a real server; what the double is, and is not, it says."""

import hashlib
import json
import shutil
import sys
from collections import deque

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.execution.derivable import Derivable, find_model
from aprqa_ci.execution.derived_files import no_converter
from aprqa_ci.execution.fetching.fetch import fetch_models
from aprqa_ci.execution.fetching.hugging_face import hub_settings
from aprqa_ci.execution.hub_cache import find_snapshot
from aprqa_ci.execution.resolve import resolve_model
from aprqa_ci.vocabulary import ModelFormat
from tests.hub_double import HubDouble, Repository, commit_of
from tests.integration.fetching.conftest import BUNDLED, REPO, Fetcher, PlanOf, bundled_files

Q8 = "aprqa-tiny-q8_0.gguf"
COMPANIONS = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
}
TOKEN = "hf_abcdefghij"


def test_exactly_the_files_of_the_cells_are_fetched(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    models, errors = fetcher.fetch(plan_of("gguf", quantizations=["q8_0"]))
    assert errors == ()
    assert models.absent == ()
    (model,) = models.models
    assert (model.repo, model.revision, model.commit) == (
        REPO,
        "main",
        hub.repositories[REPO].commit,
    )
    assert model.variants == ("gguf-q8_0",)
    assert {file.path for file in model.files} == {Q8, *COMPANIONS}
    for file in model.files:
        data = (BUNDLED / file.path).read_bytes()
        assert (file.size, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert (fetcher.snapshot() / file.path).read_bytes() == data
    asked = {path.rpartition("/")[2] for path in hub.asked("hub") if "/resolve/" in path}
    assert asked | {path.rpartition("/")[2] for path in hub.asked("store")} == {Q8, *COMPANIONS}


def test_what_was_fetched_is_what_a_run_finds(fetcher: Fetcher, plan_of: PlanOf) -> None:
    plan = plan_of("safetensors", "gguf", quantizations=["q8_0", "q4_0"])
    models, errors = fetcher.fetch(plan)
    assert errors == ()
    assert set(models.models[0].variants) == {"safetensors", "gguf-q8_0", "gguf-q4_0"}
    for cell in plan.cells:
        files = resolve_model(
            plan.playbooks[0].model,
            format=cell.format,
            quantization=cell.quantization,
            environment={"HF_HUB_CACHE": str(fetcher.cache)},
            home=fetcher.root,
        )
        assert (files.source, files.repo) == ("huggingface-cache", REPO)
        assert files.revision == models.models[0].commit


def test_a_second_time_nothing_is_downloaded(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    first, _ = fetcher.fetch(plan_of(quantizations=["q4_0"]))
    hub.seen.clear()
    second, errors = fetcher.fetch(plan_of(quantizations=["q4_0"]))
    assert (second, errors) == (first, ())
    assert [each.path for each in hub.seen] == [f"/api/models/{REPO}/revision/main"]


def test_a_model_in_several_files_comes_whole(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    parts = {f"model-0000{n}-of-00002.safetensors": bytes([n]) * 20_000 for n in (1, 2)}
    index = {
        "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors",
        }
    }
    hub.repositories[REPO].files = {
        **parts,
        "model.safetensors.index.json": json.dumps(index).encode(),
        "config.json": b"{}",
        "README.md": b"no",
        "other.safetensors": b"no",
    }
    models, errors = fetcher.fetch(plan_of("safetensors"))
    assert errors == ()
    assert {file.path for file in models.models[0].files} == {
        *parts,
        "model.safetensors.index.json",
        "config.json",
    }


def test_the_gguf_of_a_sibling_is_taken(fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf) -> None:
    files = bundled_files()
    hub.repositories[REPO].files = {
        name: data for name, data in files.items() if not name.endswith("gguf")
    }
    hub.repositories[f"{REPO}-GGUF"] = Repository(files={Q8: files[Q8]}, commit=commit_of("gguf"))
    plan = plan_of("safetensors", "gguf", quantizations=["q8_0"])
    models, errors = fetcher.fetch(plan)
    assert errors == ()
    assert {each.repo: each.commit for each in models.models} == {
        REPO: hub.repositories[REPO].commit,
        f"{REPO}-GGUF": commit_of("gguf"),
    }


def unpublished(hub: HubDouble) -> None:
    """Leave the SafeTensors alone, as most repositories do."""
    files = hub.repositories[REPO].files
    hub.repositories[REPO].files = {
        name: data for name, data in files.items() if not name.endswith("gguf")
    }


@pytest.mark.parametrize("token", [None, TOKEN])
def test_of_a_gguf_that_nobody_has_the_source_is_fetched(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf, token: str | None
) -> None:
    unpublished(hub)
    plan = plan_of("gguf", quantizations=["q8_0", "q4_0"])
    resolved = fetcher.resolve(plan, token)
    assert not (fetcher.snapshot() / "model.safetensors").exists()
    assert resolved.key
    assert "q8_0: the hub has none; its SafeTensors are fetched" in "\n".join(fetcher.said)
    models, errors = fetcher.fetch(plan, token)
    assert (errors, models.absent) == ((), ())
    (model,) = models.models
    assert model.variants == model.derived == ("gguf-q8_0", "gguf-q4_0")
    assert {file.path for file in model.files} == {"model.safetensors", *COMPANIONS}
    found = find_model(
        plan.playbooks[0].model,
        format=ModelFormat.GGUF,
        quantization="q4_0",
        environment={"HF_HUB_CACHE": str(fetcher.cache)},
        home=fetcher.root,
        converter=no_converter,
    )
    assert isinstance(found, Derivable)
    assert (found.source.repo, found.source.revision) == (REPO, model.commit)


def test_beside_safetensors_only_what_nobody_has_is_made(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    del hub.repositories[REPO].files["aprqa-tiny-q4_0.gguf"]
    models, errors = fetcher.fetch(plan_of("safetensors", "gguf", quantizations=["q8_0", "q4_0"]))
    assert errors == ()
    (model,) = models.models
    assert model.derived == ("gguf-q4_0",)
    assert {file.path for file in model.files} == {Q8, "model.safetensors", *COMPANIONS}


def test_what_cannot_be_made_is_refused_with_the_reason(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    unpublished(hub)
    error = fetcher.refusal(plan_of(quantizations=["q4_k_m"]), TOKEN)
    assert error.fault == "input"
    assert "it is not made here in q4_k_m (known: f32" in str(error)
    files = hub.repositories[REPO].files
    config = json.loads(files["config.json"]) | {"architectures": ["GemmaForCausalLM"]}
    files["config.json"] = json.dumps(config).encode()
    assert "GemmaForCausalLM" in str(fetcher.refusal(plan_of(quantizations=["q8_0"]), TOKEN))
    del files["config.json"]
    assert "without config.json" in str(fetcher.refusal(plan_of(quantizations=["q8_0"]), TOKEN))
    del files["model.safetensors"]
    assert "no SafeTensors file" in str(fetcher.refusal(plan_of(quantizations=["q8_0"]), TOKEN))


def test_a_sibling_that_may_not_be_seen_is_not_replaced(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    """It has the file, and who accepts its licence gets it."""
    unpublished(hub)
    hub.repositories[f"{REPO}-GGUF"] = Repository(
        files={Q8: b"x"}, commit=commit_of("gguf"), token=TOKEN
    )
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]))
    assert error.fault == "infrastructure"
    assert "accept its licence" in str(error)


def test_a_faulty_sibling_is_not_replaced(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    unpublished(hub)
    hub.repositories[f"{REPO}-GGUF"] = Repository(
        files={"a-q8_0.gguf": b"x", "b-q8_0.gguf": b"x"}, commit=commit_of("gguf")
    )
    assert "2 GGUF files match" in str(fetcher.refusal(plan_of(quantizations=["q8_0"])))


def test_of_a_local_model_without_gguf_nothing_is_fetched(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    local = fetcher.root / "local"
    shutil.copytree(BUNDLED, local, ignore=shutil.ignore_patterns("*.gguf"))
    models, errors = fetcher.fetch(plan_of(quantizations=["q8_0"], local_path=str(local)))
    assert (models.models, errors) == ((), ())
    assert hub.seen == []
    assert "to be made of the SafeTensors there, nothing to fetch" in fetcher.said[0]


def test_a_revision_is_pinned_to_its_commit(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    hub.repositories[REPO].refs["v1"] = hub.repositories[REPO].commit
    models, errors = fetcher.fetch(plan_of(quantizations=["q8_0"], revision="v1"))
    assert errors == ()
    assert (models.models[0].revision, models.models[0].commit) == (
        "v1",
        hub.repositories[REPO].commit,
    )
    assert find_snapshot(fetcher.cache, REPO, "v1").commit == models.models[0].commit


def test_the_key_is_made_of_commits_and_files_before_any_is_there(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    first = fetcher.resolve(plan_of(quantizations=["q8_0"])).key
    assert hub.asked("store") == []
    assert not fetcher.cache.exists()
    assert first == fetcher.resolve(plan_of(quantizations=["q8_0"])).key
    others = {fetcher.resolve(plan_of(quantizations=["q4_0"])).key}
    hub.repositories[REPO].commit = commit_of("second")
    others.add(fetcher.resolve(plan_of(quantizations=["q8_0"])).key)
    assert first not in others
    assert len(others) == 2


def test_a_revision_that_there_is_not_is_the_playbooks_mistake(
    fetcher: Fetcher, plan_of: PlanOf
) -> None:
    error = fetcher.refusal(plan_of(quantizations=["q8_0"], revision="v9"))
    assert error.fault == "input"
    assert "v9" in str(error)
    assert "model.revision" in str(error)


def test_a_quantization_that_there_is_not_is_named_with_what_there_is(
    fetcher: Fetcher, plan_of: PlanOf
) -> None:
    error = fetcher.refusal(plan_of(quantizations=["q6_k"]), TOKEN)
    assert error.fault == "input"
    assert Q8 in str(error)
    assert f"{REPO}-GGUF" in str(error)


@pytest.mark.parametrize(("token", "word"), [(None, "is not set"), ("hf_wrong", "was given")])
def test_a_gated_model_names_licence_and_token(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf, token: str | None, word: str
) -> None:
    hub.repositories[REPO].token = TOKEN
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]), token)
    assert error.fault == "infrastructure"
    assert f"accept its licence at {hub.endpoint}/{REPO}" in str(error)
    assert f"HF_TOKEN {word}" in str(error)
    assert "hf_wrong" not in str(error)
    models, errors = fetcher.fetch(plan_of(quantizations=["q8_0"]), TOKEN)
    assert (len(models.models), errors) == (1, ())


@pytest.mark.parametrize(("token", "fault"), [(None, "infrastructure"), ("hf_wrong", "input")])
def test_a_private_model_looks_like_none(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf, token: str | None, fault: str
) -> None:
    hub.repositories[REPO].token, hub.repositories[REPO].private = TOKEN, True
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]), token)
    assert error.fault == fault
    assert "does not exist, or is private" in str(error)


def test_the_token_stays_with_the_hub(fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf) -> None:
    hub.repositories[REPO].token = TOKEN
    models, errors = fetcher.fetch(plan_of(quantizations=["q8_0"]), TOKEN)
    assert errors == ()
    assert {each.token for each in hub.seen if each.host == "hub"} == {TOKEN}
    assert {each.token for each in hub.seen if each.host == "store"} == {None}
    assert TOKEN not in "\n".join(fetcher.said)
    assert TOKEN not in str(models)
    for path in fetcher.root.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


def test_a_login_left_on_the_machine_is_not_used(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_machine")
    fetcher.fetch(plan_of(quantizations=["q8_0"]))
    assert {each.token for each in hub.seen} == {None}


def test_a_listed_file_that_is_missing_is_no_verdict(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    resolved = fetcher.resolve(plan_of(quantizations=["q8_0"]))
    del hub.repositories[REPO].files["config.json"]
    models, (error,) = fetch_models(resolved, fetcher.world())
    assert error.fault == "infrastructure"
    assert "config.json: the hub lists the file and does not have it" in str(error)
    assert models.models == ()


def test_a_download_that_breaks_off_goes_on_where_it_was(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf, capfd: pytest.CaptureFixture[str]
) -> None:
    # The library keeps what came in parts of 10 MB.
    data = bytes(24 << 20)
    hub.repositories[REPO].files = {Q8: data}
    hub.break_off[Q8] = deque([11 << 20])
    _, errors = fetcher.fetch(plan_of(quantizations=["q8_0"]))
    assert errors == ()
    ranges = [each.range for each in hub.seen if each.host == "store" and each.method == "GET"]
    assert ranges[0] is None
    assert ranges[1] == f"bytes={10 << 20}-"
    assert (fetcher.snapshot() / Q8).read_bytes() == data
    assert capfd.readouterr().err == ""


def test_wrong_bytes_are_fetched_once_more(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    wrong = b"\0" * len((BUNDLED / Q8).read_bytes())
    hub.instead[Q8] = deque([wrong])
    _, errors = fetcher.fetch(plan_of(quantizations=["q8_0"]))
    assert errors == ()
    assert (fetcher.snapshot() / Q8).read_bytes() == (BUNDLED / Q8).read_bytes()


@pytest.mark.parametrize("name", [Q8, "config.json"])
def test_wrong_bytes_are_never_kept(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf, name: str
) -> None:
    wrong = b"\0" * len((BUNDLED / name).read_bytes())
    hub.instead[name] = deque([wrong] * 9)
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]))
    assert error.fault == "infrastructure"
    assert f"{name} has the digest" in str(error)
    assert not (fetcher.snapshot() / name).exists()
    assert wrong not in {path.read_bytes() for path in fetcher.cache.rglob("*") if path.is_file()}
    # What the revision stands for is written when all of it is there.
    assert not (fetcher.cache / "models--org--tiny/refs").exists()


def test_a_cache_that_was_damaged_is_mended(fetcher: Fetcher, plan_of: PlanOf) -> None:
    fetcher.fetch(plan_of(quantizations=["q8_0"]))
    blob = (fetcher.snapshot() / Q8).resolve()
    blob.write_bytes(b"\0" * blob.stat().st_size)
    _, errors = fetcher.fetch(plan_of(quantizations=["q8_0"]))
    assert errors == ()
    assert (fetcher.snapshot() / Q8).read_bytes() == (BUNDLED / Q8).read_bytes()


def test_a_renamed_repository_is_followed_and_named(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    hub.repositories["org/new"] = hub.repositories.pop(REPO)
    hub.renamed[REPO] = "org/new"
    models, errors = fetcher.fetch(plan_of(quantizations=["q8_0"]))
    assert errors == ()
    (model,) = models.models
    assert (model.repo, model.renamed_to) == (REPO, "org/new")
    assert find_snapshot(fetcher.cache, REPO, None).commit == model.commit
    assert any("org/new by now" in line for line in fetcher.said)


def test_a_hub_that_is_busy_is_asked_again(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    hub.statuses.extend([503, 500])
    _, errors = fetcher.fetch(plan_of(quantizations=["q8_0"]))
    assert errors == ()
    assert fetcher.pauses == [1.0, 2.0]


def test_a_hub_that_stays_away_is_no_verdict(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    hub.statuses.extend([503] * 4)
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]))
    assert error.fault == "infrastructure"
    assert "HTTP 503" in str(error)
    assert fetcher.pauses == [1.0, 2.0, 4.0]
    assert len(hub.seen) == 4


def test_a_hub_that_cannot_be_reached_is_named(fetcher: Fetcher, plan_of: PlanOf) -> None:
    fetcher.hub.endpoint = "http://127.0.0.1:9"
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]))
    assert error.fault == "infrastructure"
    assert "http://127.0.0.1:9 cannot be reached" in str(error)


@pytest.mark.parametrize(
    "name", ["../../escape-q8_0.gguf", "/etc/escape-q8_0.gguf", "a\\..\\escape-q8_0.gguf"]
)
def test_a_name_that_leads_out_is_never_followed(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf, name: str
) -> None:
    hub.repositories[REPO].files = {name: b"x" * 20_000}
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]))
    assert hub.asked("store") == []
    assert not list(fetcher.root.rglob("*escape*"))
    assert str(error)


def test_an_index_that_leads_out_is_never_followed(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    index = b'{"weight_map": {"a": "../../escape.safetensors"}}'
    hub.repositories[REPO].files = {"model.safetensors.index.json": index}
    error = fetcher.refusal(plan_of("safetensors"))
    assert "leads out" in str(error)


def test_bytes_that_never_end_are_cut_off(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    hub.endless.add(Q8)
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]))
    assert error.fault == "infrastructure"
    assert "more bytes came than the hub lists" in str(error)
    assert all(path.stat().st_size < 2 << 20 for path in fetcher.cache.rglob("*.incomplete"))


def test_a_model_larger_than_the_disk_is_not_begun(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    fetcher.free = 1 << 20
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]))
    assert error.fault == "infrastructure"
    assert "GB are free" in str(error)
    assert not [path for path in hub.asked("hub") if "/resolve/" in path]


def test_a_listing_without_digests_is_refused(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    def strip(told: dict[str, object]) -> None:
        told["siblings"] = [{"rfilename": Q8}]

    hub.listed = strip
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]))
    assert error.fault == "infrastructure"
    assert "without size and digest" in str(error)


def test_a_model_that_lies_here_needs_no_hub(fetcher: Fetcher, plan_of: PlanOf) -> None:
    fetcher.hub.endpoint = "http://127.0.0.1:9"
    plan = plan_of(quantizations=["q8_0"], local_path=str(BUNDLED))
    models, errors = fetcher.fetch(plan)
    assert (models.models, errors, fetcher.hub.seen) == ((), (), [])
    assert any("nothing to fetch" in line for line in fetcher.said)


def test_what_cannot_be_had_does_not_keep_the_rest(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    del hub.repositories[REPO].files["model.safetensors"]
    models, errors = fetcher.fetch(plan_of("safetensors", "gguf", quantizations=["q8_0"]))
    assert len(errors) == 1
    assert [each.variant for each in models.absent] == ["safetensors"]
    assert models.models[0].variants == ("gguf-q8_0",)


@pytest.mark.parametrize(
    "environment",
    [
        {"HF_ENDPOINT": "ftp://hub"},
        {"HF_ENDPOINT": "http://name:word@hub"},
        {"HF_ENDPOINT": "http://mirror.example", "HF_TOKEN": TOKEN},
        {"HF_TOKEN": "two words"},
    ],
)
def test_settings_that_make_no_sense_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(InputError) as caught:
        hub_settings(environment)
    assert TOKEN not in str(caught.value)
    assert "two words" not in str(caught.value)


def test_the_token_is_not_in_what_is_printed_of_the_settings() -> None:
    settings = hub_settings({"HF_TOKEN": f" {TOKEN}\n"})
    assert settings.token == TOKEN
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize(
    ("status", "word"), [(403, "the hub refused (HTTP 403)"), (418, "answered HTTP 418")]
)
def test_another_refusal_is_told_by_its_number(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf, status: int, word: str
) -> None:
    hub.statuses.append(status)
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]))
    assert error.fault == "infrastructure"
    assert word in str(error)


def test_a_cache_that_cannot_be_written_is_the_machines_fault(
    fetcher: Fetcher, plan_of: PlanOf
) -> None:
    fetcher.cache.write_text("a file where a directory should be")
    error = fetcher.refusal(plan_of(quantizations=["q8_0"]))
    assert error.fault == "infrastructure"
    assert "the cache cannot be used" in str(error)


def test_without_the_library_its_extra_is_named(
    fetcher: Fetcher, plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"aprqa-ci\[hub\]"):
        fetcher.resolve(plan_of(quantizations=["q8_0"]))


def test_a_name_that_no_repository_has_is_not_asked_for(
    fetcher: Fetcher, hub: HubDouble, plan_of: PlanOf
) -> None:
    plan = plan_of(quantizations=["q8_0"], hf_repo="org/a--b")
    error = fetcher.refusal(plan)
    assert error.fault == "input"
    assert hub.seen == []
