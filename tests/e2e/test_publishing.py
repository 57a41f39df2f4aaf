"""What runs publish to one GitHub: two models at the same time, and a check run."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.act.double import Double
from tests.act.harness import Run, commit, git
from tests.e2e.conftest import PLAYBOOK, Consumer

pytestmark = pytest.mark.slow

HEADER = (
    b"model_id,family,parameters,size_category,status,mqs_score,grade,certified_tier,last_certified,"
    b"g1,g2,g3,g4,tps_gguf_cpu,tps_gguf_gpu,tps_apr_cpu,tps_apr_gpu,tps_st_cpu,tps_st_gpu,"
    b"provenance_verified\n"
)
STANDING = (
    b'other/model,"a ""quoted"", family",7B,large,PENDING,0,-,none,2026-01-31T00:00:00+00:00,'
    b"false,false,false,false,,,,,,,false\r\n"
)
README = b"# mine\n\n<!-- CERTIFICATION_TABLE_START -->\n<!-- CERTIFICATION_TABLE_END -->\n"


def row(files: Path, name: str) -> bytes:
    """The row that the certificate on a branch must have given."""
    certificate = json.loads((files / f"certifications/{name}/certificate.json").read_text())
    (speed,) = certificate["throughput"]
    assert (speed["format"], speed["backend"]) == ("gguf", "cpu")
    measured = f"{certificate['mqs']},{certificate['grade']}"
    return (
        f"example/{name},llama,,tiny,CERTIFIED,{measured},mvp,{certificate['finished']},"
        f"true,true,true,true,{speed['tokens_per_second']:.1f},,,,,,false\n"
    ).encode()


def test_two_models_published_at_once_get_a_branch_and_a_pull_request_each(
    consumer: Consumer, github: Double, tmp_path: Path
) -> None:
    registry = consumer.path / "docs/certifications/models.csv"
    registry.parent.mkdir(parents=True)
    registry.write_bytes(HEADER + STANDING)
    (consumer.path / "README.md").write_bytes(README)
    playbooks = consumer.path / "playbooks"
    (playbooks / "models/tiny.playbook.yaml").unlink()
    (playbooks / "others").mkdir()
    for name, place in (("one", "models"), ("two", "others")):
        text = PLAYBOOK.replace("name: tiny", f"name: {name}").replace(
            "example/tiny", f"example/{name}"
        )
        (playbooks / place / f"{name}.playbook.yaml").write_text(text)
    nightly = consumer.workflow("nightly.yml")
    pushed = consumer.workflow("app-token.yml")
    text = (consumer.path / pushed).read_text(encoding="utf-8")
    text = text.replace("models/*", "others/*").replace("org/model-owners", "octo/model-owners")
    (consumer.path / pushed).write_text(text, encoding="utf-8")
    commit(consumer.path)
    app = {"login": "my-app[bot]", "app": True, "permissions": "all"}
    github.hub.tokens["ghs_fake_token_of_the_app"] = app

    def night() -> Run:
        return consumer.run(tmp_path / "one", "schedule", nightly, github=github)

    def push() -> Run:
        secret = ("-s", "APP_TOKEN=ghs_fake_token_of_the_app")
        out = tmp_path / "two"
        return consumer.run(out, "push", pushed, *secret, github=github, RUN_ID="43")

    with ThreadPoolExecutor(2) as side_by_side:
        started = [side_by_side.submit(night), side_by_side.submit(push)]
        runs = [each.result() for each in started]
    for run in runs:
        assert run.rc == 0, run.text()
        assert run.outputs("verdict", "merge", "aprqa")["verdict"] == "good"
    assert set(github.pulls) == {"aprqa/certify/one", "aprqa/certify/two"}
    for name in ("one", "two"):
        files = tmp_path / f"clone-{name}"
        url = f"{github.hub.base_url}/octo/consumer.git"
        git(tmp_path, "clone", "-q", "-b", f"aprqa/certify/{name}", url, str(files))
        git(files, "fsck", "--strict")
        written = (files / "docs/certifications/models.csv").read_bytes()
        assert written == HEADER + STANDING + row(files, name)
        changed = git(files, "diff", "--name-only", "origin/main...HEAD").split()
        own = f"certifications/{name}/"
        assert {each for each in changed if not each.startswith(own)} == {
            "README.md",
            "docs/certifications/models.csv",
        }
    pulls = {each["head"]: each for each in github.repo.pulls.values()}
    mine, of_the_app = (pulls[f"aprqa/certify/{name}"] for name in ("one", "two"))
    assert (mine["by"], of_the_app["by"]) == ("github-actions[bot]", "my-app[bot]")
    assert (of_the_app["reviewers"], of_the_app["teams"]) == (["alice"], ["model-owners"])
    assert of_the_app["auto_merge"] == "squash"
    assert "auto_merge" not in mine or mine["auto_merge"] is None
    assert github.repo.branch("main") == git(consumer.path, "rev-parse", "HEAD").strip()


def test_a_pull_request_gets_a_comment_and_a_check_run(
    consumer: Consumer, github: Double, tmp_path: Path
) -> None:
    base = git(consumer.path, "rev-parse", "HEAD").strip()
    workflow = consumer.workflow("pull-request.yml")
    head = git(consumer.path, "rev-parse", "HEAD").strip()
    number = github.hub.add_pull(github.repo, head="main", sha=head)
    own = {"full_name": "octo/consumer", "default_branch": "main"}
    pull: dict[str, Any] = {
        "number": number,
        "head": {"sha": head, "ref": "topic", "repo": own},
        "base": {"sha": base, "ref": "main", "repo": own},
    }
    payload = {"action": "opened", "repository": own, "pull_request": pull}
    run = consumer.run(tmp_path / "out", "pull_request", workflow, payload=payload, github=github)
    assert run.rc == 0, run.text()
    (comment,) = github.comments
    assert "tiny" in comment
    assert "nverified" not in comment
    (check,) = github.repo.checks.values()
    assert (check["name"], check["head_sha"]) == ("aprqa / tiny", head)
    assert (check["status"], check["conclusion"]) == ("completed", "success")
    assert check["output"]["title"].startswith("PROVISIONAL")
    assert run.outputs("verdict", "merge", "aprqa")["comment-url"]
