"""From a hub to a certificate: fetched with a token, then run offline without one."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from aprqa_ci.certification.bundle import read_bundle
from aprqa_ci.evidence.merging import read_shard
from aprqa_ci.evidence.record import MetadataKey
from tests.hub_double import HubDouble
from tests.integration.fetching.conftest import BUNDLED, PLAYBOOK, REPO, Aprqa, Ended, environment

TOKEN = "hf_abcdefghij"


def children_of(parent: int) -> dict[int, bytes]:
    """The environments of the living children of a process that have begun their own program.

    Between fork and exec a child still shows its parent's.
    """
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == parent:
                directory = status.parent
                if b"aprqa_ci.execution.worker" in (directory / "cmdline").read_bytes():
                    found[int(directory.name)] = (directory / "environ").read_bytes()
    return found


def holds_token(place: Path) -> list[Path]:
    return [
        path for path in place.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()
    ]


def test_a_gated_model_is_fetched_and_then_certified_without_hub_and_token(
    hub: HubDouble, place: Path, aprqa: Aprqa
) -> None:
    hub.repositories[REPO].token = TOKEN
    away = {"HF_ENDPOINT": hub.endpoint}
    assert aprqa("plan", "tiny.playbook.yaml", "-o", "plan.json").returncode == 0

    dry = aprqa("fetch", "--plan", "plan.json", "--dry-run", **away)
    assert dry.returncode == 0, dry.stderr
    assert "cache key aprqa-models-1-" in dry.stdout
    nowhere = aprqa("fetch", "--plan", "plan.json", "--dry-run", HF_ENDPOINT="http://127.0.0.1:9")
    assert nowhere.returncode == 3, nowhere.stdout
    assert "cannot be reached" in nowhere.stderr
    refused = aprqa("fetch", "--plan", "plan.json", "-o", "models.json", **away)
    assert refused.returncode == 3
    assert "accept its licence" in refused.stderr
    assert "HF_TOKEN is not set" in refused.stderr

    # Without the model there is no verdict, and the reason is that of the fetch.
    run_shard = ("run", "plan.json", "--shard", "s001", "--models", "models.json")
    lost = aprqa(*run_shard, "-o", "lost")
    assert lost.returncode == 3
    assert "accept its licence" in lost.stdout
    assert {str(each.outcome) for each in read_shard(place / "lost").records} == {"Skipped"}

    fetched = aprqa(
        "fetch",
        "--plan",
        "plan.json",
        "--shard",
        "s001",
        "-o",
        "models.json",
        **away,
        HF_TOKEN=TOKEN,
    )
    assert fetched.returncode == 0, fetched.stderr
    assert TOKEN not in fetched.stdout + fetched.stderr

    # The hub is gone, and the token is still in the shell: no child and no file ever sees it.
    hub.seen.clear()
    process = subprocess.Popen(
        [sys.executable, "-m", "aprqa_ci", *run_shard, "-o", "shard"],
        cwd=place,
        env=environment(place, {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": TOKEN}),
        stdout=subprocess.DEVNULL,
    )
    seen: dict[int, bytes] = {}
    while process.poll() is None:
        seen |= children_of(process.pid)
        time.sleep(0.005)
    assert process.returncode == 0
    assert any(b"HF_HUB_OFFLINE=1" in text for text in seen.values())
    assert not any(TOKEN.encode() in text for text in seen.values())
    assert hub.seen == []
    shard = read_shard(place / "shard")
    assert set(shard.manifest.files) == {"evidence.json", "models.json"}
    commit = hub.repositories[REPO].commit
    assert {record.meta(MetadataKey.MODEL_REPO) for record in shard.records} == {REPO}
    assert {record.meta(MetadataKey.MODEL_COMMIT) for record in shard.records} == {commit}

    merged = aprqa("merge", "shard", "--plan", "plan.json", "-o", "merged")
    assert merged.returncode == 0, merged.stdout + merged.stderr
    bundle = read_bundle(place / "merged/tiny-quick")
    source = bundle.certificate.model.sources["gguf-q8_0"]
    assert (source.repo, source.commit) == (REPO, commit)
    manifest = json.loads((place / "models.json").read_text())
    told = {each["path"]: each["sha256"] for each in manifest["models"][0]["files"]}
    assert bundle.certificate.model.files["gguf-q8_0"] == told
    assert commit in (place / "merged/tiny-quick/report.md").read_text()
    assert holds_token(place) == []
    assert aprqa("validate", "models.json", "merged/tiny-quick").returncode == 0


def test_what_nobody_has_is_made_of_what_was_fetched(
    hub: HubDouble, place: Path, aprqa: Aprqa
) -> None:
    files = hub.repositories[REPO].files
    hub.repositories[REPO].files = {
        name: data for name, data in files.items() if not name.endswith("gguf")
    }
    aprqa("plan", "tiny.playbook.yaml", "-o", "plan.json")
    away = {"HF_ENDPOINT": hub.endpoint}
    dry = aprqa("fetch", "--plan", "plan.json", "--dry-run", **away)
    assert dry.returncode == 0, dry.stderr
    assert "gguf-q8_0: the hub has none" in dry.stdout
    assert "model.safetensors: " in dry.stdout
    assert aprqa("fetch", "--plan", "plan.json", "-o", "m.json", **away).returncode == 0
    assert json.loads((place / "m.json").read_text())["models"][0]["derived"] == ["gguf-q8_0"]
    assert aprqa("run", "plan.json", "--models", "m.json", "-o", "shard").returncode == 0
    for record in read_shard(place / "shard").records:
        assert record.outcome == "Corroborated", record.reason
        assert record.meta(MetadataKey.DERIVED_FROM) == "safetensors"
        assert record.meta(MetadataKey.MODEL_COMMIT) == hub.repositories[REPO].commit


def test_another_commit_than_was_fetched_is_not_run(
    hub: HubDouble, place: Path, aprqa: Aprqa
) -> None:
    aprqa("plan", "tiny.playbook.yaml", "-o", "plan.json")
    away = {"HF_ENDPOINT": hub.endpoint}
    assert aprqa("fetch", "--plan", "plan.json", "-o", "m.json", **away).returncode == 0
    told = json.loads((place / "m.json").read_text())
    told["models"][0]["commit"] = "0" * 40
    (place / "m.json").write_text(json.dumps(told))
    done = aprqa("run", "plan.json", "--models", "m.json", "-o", "shard")
    assert done.returncode == 3
    assert "another was fetched; fetch again" in " ".join(done.stdout.split())


def test_a_manifest_of_another_plan_is_refused(hub: HubDouble, aprqa: Aprqa) -> None:
    aprqa("plan", "tiny.playbook.yaml", "-o", "plan.json")
    away = {"HF_ENDPOINT": hub.endpoint}
    assert aprqa("fetch", "tiny.playbook.yaml", "--tier", "smoke", **away).returncode == 0
    done = aprqa("run", "plan.json", "--models", "aprqa-out/models.json", "-o", "shard")
    assert done.returncode == 2
    assert "fetched for another plan" in done.stderr


def test_wrong_usage_is_named(aprqa: Aprqa) -> None:
    aprqa("plan", "tiny.playbook.yaml", "-o", "plan.json")
    for arguments, word in (
        ((), "name playbooks, or a plan"),
        (("tiny.playbook.yaml", "--plan", "plan.json"), "name playbooks, or a plan"),
        (("tiny.playbook.yaml", "--shard", "s001"), "--shard needs --plan"),
        (("--plan", "plan.json", "--tier", "mvp"), "a plan says what is run"),
        (("--plan", "plan.json", "--shard", "s9"), "no shard 's9'"),
    ):
        done = aprqa("fetch", *arguments)
        assert done.returncode == 2, arguments
        assert word in done.stderr


class Action:
    """The action's steps of one job."""

    def __init__(self, place: Path, hub: HubDouble, aprqa: Aprqa) -> None:
        self.aprqa = aprqa
        self.place = place
        self.hub = hub
        event = {"repository": {"full_name": "org/repo", "default_branch": "main"}}
        (place / "event.json").write_text(json.dumps(event))

    def __call__(self, command: str, *, env: dict[str, str] | None = None, **inputs: str) -> Ended:
        (self.place / "outputs").unlink(missing_ok=True)
        variables = {
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": "octo",
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_EVENT_PATH": str(self.place / "event.json"),
            "GITHUB_REPOSITORY": "org/repo",
            "GITHUB_SHA": "a" * 40,
            "GITHUB_REF": "refs/heads/main",
            "GITHUB_RUN_ID": "1",
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_WORKSPACE": str(self.place),
            "GITHUB_OUTPUT": str(self.place / "outputs"),
            "INPUT_COMMAND": command,
            "HF_ENDPOINT": self.hub.endpoint,
        }
        variables |= {f"INPUT_{name.upper()}": text for name, text in inputs.items()}
        return self.aprqa("action", **variables, **(env or {}))

    def outputs(self) -> dict[str, str]:
        lines = iter((self.place / "outputs").read_text().splitlines())
        found = {}
        for line in lines:
            name, _, mark = line.partition("<<")
            texts = []
            while (text := next(lines)) != mark:
                texts.append(text)
            found[name] = "\n".join(texts)
        return found


def test_the_steps_of_a_job_resolve_fetch_and_run(
    hub: HubDouble, place: Path, aprqa: Aprqa
) -> None:
    hub.repositories[REPO].token = TOKEN
    hub.repositories[REPO].private = True
    action = Action(place, hub, aprqa)
    assert action("plan", playbooks="tiny.playbook.yaml").returncode == 0

    resolved = action("resolve", shard="s001", hf_token=TOKEN)
    assert resolved.returncode == 0, resolved.stdout
    outputs = action.outputs()
    assert outputs["cache-key"].startswith("aprqa-models-1-")
    assert outputs["models"] == "aprqa-out/models"
    assert not (place / "aprqa-out/models").exists()

    fetched = action("fetch", shard="s001", hf_token=TOKEN)
    assert fetched.returncode == 0, fetched.stdout
    assert action.outputs()["models"] == "aprqa-out/models"
    done = action("run", shard="s001", env={"HF_TOKEN": TOKEN})
    assert done.returncode == 0, done.stdout
    assert "could not be run" not in done.stdout
    shard = read_shard(place / "aprqa-out/shard")
    assert {record.meta(MetadataKey.MODEL_REPO) for record in shard.records} == {REPO}
    assert TOKEN not in resolved.stdout + fetched.stdout + done.stdout
    assert holds_token(place) == []


def test_a_shard_whose_model_cannot_be_fetched_says_why(
    hub: HubDouble, place: Path, aprqa: Aprqa
) -> None:
    hub.repositories[REPO].token = TOKEN
    action = Action(place, hub, aprqa)
    action("plan", playbooks="tiny.playbook.yaml")
    assert action("resolve", shard="s001").returncode == 0
    fetched = action("fetch", shard="s001")
    assert fetched.returncode == 3
    assert "::error title=aprqa::" in fetched.stdout
    assert "the secret of the input hf-token" in fetched.stdout
    done = action("run", shard="s001")
    assert done.returncode == 0
    assert "accept its licence" in done.stdout
    records = read_shard(place / "aprqa-out/shard").records
    assert {record.meta(MetadataKey.CAUSE) for record in records} == {
        "infrastructure:preflight-model"
    }


def test_a_machine_with_a_cache_of_its_own_gets_no_key(
    hub: HubDouble, place: Path, aprqa: Aprqa
) -> None:
    action = Action(place, hub, aprqa)
    action("plan", playbooks="tiny.playbook.yaml")
    own = {"HF_HOME": str(place / "own")}
    assert action("resolve", shard="s001", env=own).returncode == 0
    assert action.outputs() == {"cache-key": "", "models": str(place / "own/hub")}
    assert action("fetch", shard="s001", env=own).returncode == 0
    done = action("run", shard="s001", env=own)
    assert done.returncode == 0, done.stdout
    assert "could not be run" not in done.stdout
    assert not (place / "aprqa-out/models").exists()


def test_a_bundled_model_asks_nobody(hub: HubDouble, place: Path, aprqa: Aprqa) -> None:
    data = PLAYBOOK | {"model": PLAYBOOK["model"] | {"local_path": str(BUNDLED)}}
    (place / "tiny.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")
    action = Action(place, hub, aprqa)
    action("plan", playbooks="tiny.playbook.yaml")
    assert action("resolve", shard="s001").returncode == 0
    assert action.outputs()["cache-key"] == ""
    fetched = action("fetch", playbooks="tiny.playbook.yaml")
    assert fetched.returncode == 0
    assert "nothing to fetch" in fetched.stdout
    assert hub.seen == []
