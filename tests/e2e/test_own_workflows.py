"""The workflows of this repository itself, run with act as far as that goes."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from aprqa_ci import __version__
from tests.act.double import TOKEN, Double, token_rights
from tests.act.harness import HERE, Run, commit, git, run_act, tools_path
from tests.e2e.conftest import ROOT, VENVS

pytestmark = pytest.mark.slow

WHEELS = ROOT / ".cache" / "wheels"
WORKFLOWS = Path(".github/workflows")
TAG = f"v{__version__}"
MAJOR = TAG.split(".", maxsplit=1)[0]


def run_own(
    repository: Path,
    out: Path,
    event: str,
    workflow: str,
    *arguments: object,
    github: Double | None = None,
    **env: str,
) -> Run:
    """Run a workflow of a copy of this repository, which is also where it finds the action."""
    if github is not None:
        relay = (sys.executable, HERE / "relay.py", github.socket)
        env["FAKE_GITHUB"] = " ".join(str(each) for each in relay)
    env["STUB_REPOS"] = json.dumps({"octo/consumer": str(repository)})
    env["APRQA_VENVS"] = str(VENVS)
    return run_act(repository, out, event, "-W", WORKFLOWS / workflow, *arguments, env=env)


def copy_of(repository: Path, path: Path) -> Path:
    shutil.copytree(repository, path)
    return path


# certify-bundled.yml, report.yml


def test_the_bundled_model_is_certified_and_a_forks_run_of_it_is_reported(
    action_repository: Path, github: Double, tmp_path: Path
) -> None:
    called = action_repository / WORKFLOWS / "certify.yml"
    github.take(
        action_repository,
        token_rights(action_repository / WORKFLOWS / "certify-bundled.yml", called),
    )
    run = run_own(
        action_repository, tmp_path / "certify", "push", "certify-bundled.yml", github=github
    )
    assert run.rc == 0, run.text()
    results = run.outputs("verdict", "merge", "aprqa")
    assert (results["verdict"], results["status"]) == ("good", "CERTIFIED")
    ((branch, title),) = github.pulls.items()
    assert branch == "aprqa/certify/aprqa-tiny-mvp"
    assert title == f"feat(cert): aprqa-tiny mvp: CERTIFIED {results['mqs']} ({results['grade']})"
    registry = github.repo.git("show", f"{branch}:docs/certifications/models.csv")
    assert registry.splitlines()[-1].startswith("aprqa/aprqa-tiny,llama,")

    # What is signed is what the pull request holds; nothing is signed here, and the stub says so.
    (attestation,) = run.artifacts().glob("attestation-*/*.json")
    assert attestation.parent.name == "attestation-aprqa-tiny-mvp-a1"
    statement = json.loads(attestation.read_bytes())["unsigned"]
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert statement["predicate"]["result"] == "PASSED"
    subjects = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    for name in ("certificate.json", "evidence.json", "plan.json"):
        path = f"{branch}:certifications/aprqa-tiny-mvp/{name}"
        shown = github.repo.git("show", path, raw=True)
        assert subjects[name] == hashlib.sha256(shown).hexdigest(), name
    ours = ROOT / "aprqa_ci/data/models/aprqa-tiny/model.safetensors"
    assert (
        subjects["safetensors/model.safetensors"] == hashlib.sha256(ours.read_bytes()).hexdigest()
    )

    # The same artifacts, as if a fork had left them: the reporter believes nothing of them.
    head = git(action_repository, "rev-parse", "HEAD").strip()
    number = github.hub.add_pull(github.repo, fork="mallory/consumer", head="patch", sha=head)
    event: dict[str, Any] = {
        "action": "completed",
        "repository": {"full_name": "octo/consumer", "default_branch": "main"},
        "workflow_run": {
            "id": 42,
            "event": "pull_request",
            "head_sha": head,
            "head_branch": "patch",
            "conclusion": "success",
            "head_repository": {"full_name": "mallory/consumer"},
        },
    }
    (tmp_path / "event.json").write_text(json.dumps(event))
    github.take(
        action_repository, token_rights(action_repository / WORKFLOWS / "report.yml", called)
    )
    reported = run_own(
        action_repository,
        tmp_path / "report",
        "workflow_run",
        "report.yml",
        *("-e", tmp_path / "event.json"),
        github=github,
        SEED=str(run.artifacts()),
    )
    assert reported.rc == 0, reported.text()
    assert reported.step("comment", "report") == "success"
    ((on, body),) = ((each["n"], each["body"]) for each in github.repo.comments.values())
    assert on == number
    assert "nverified" in body
    assert github.repo.checks == {}
    assert reported.outputs("comment", "report", "aprqa")["attest"] == ""


def test_what_is_signed_must_be_what_the_verdict_wrote(tmp_path: Path) -> None:
    """The script of the job that signs, on what another job may have put in the artifact."""
    workflow = yaml.safe_load((ROOT / WORKFLOWS / "attest.yml").read_text(encoding="utf-8"))
    (step,) = (each for each in workflow["jobs"]["attest"]["steps"] if "run" in each)
    env = {"PATH": os.environ["PATH"]}
    for name, variable in (("predicate.json", "PREDICATE"), ("subjects.sha256", "SUBJECTS")):
        (tmp_path / name).write_text(f"of the verdict: {name}")
        env[variable] = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()

    def checks() -> bool:
        command = ["/bin/bash", "-e", "-o", "pipefail", "-c", step["run"]]
        return subprocess.run(command, env=env, cwd=tmp_path, check=False).returncode == 0

    assert checks()
    for name in ("predicate.json", "subjects.sha256"):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(kept + b" ")
        assert not checks()
        (tmp_path / name).unlink()
        assert not checks()
        (tmp_path / name).write_bytes(kept)
    env["SUBJECTS"] = ""
    assert not checks()


# ci.yml


def test_the_action_certifies_in_one_job(action_repository: Path, tmp_path: Path) -> None:
    leg = ("-j", "action", "--matrix", "python:3.11")
    run = run_own(action_repository, tmp_path / "out", "push", "ci.yml", *leg)
    assert run.rc == 0, run.text()
    assert run.step("action", "certify") == "success"
    assert run.outputs("action", "certify", "aprqa")["verdict"] == "good"
    assert (run.artifacts() / "py3.11-certification-a1").is_dir()


def test_what_must_fail_in_ci_fails(action_repository: Path, tmp_path: Path) -> None:
    run = run_own(action_repository, tmp_path / "out", "push", "ci.yml", "-j", "failures")
    assert run.rc == 0, run.text()
    for step in ("unknown-command", "no-playbook", "no-plan", "no-model"):
        assert run.step("failures", step) == "failure"
    assert run.outputs("failures", "no-model", "aprqa")["verdict"] == "inconclusive"


def test_a_failure_that_does_not_come_fails_ci(action_repository: Path, tmp_path: Path) -> None:
    repository = copy_of(action_repository, tmp_path / "repository")
    workflow = repository / WORKFLOWS / "ci.yml"
    text = workflow.read_text(encoding="utf-8")
    good = text.replace("models/none.playbook.yaml", "models/aprqa-tiny-quick.playbook.yaml")
    assert good != text
    workflow.write_text(good, encoding="utf-8")
    commit(repository)
    run = run_own(repository, tmp_path / "out", "push", "ci.yml", "-j", "failures")
    assert run.step("failures", "no-playbook") == "success"
    assert run.rc == 1


# release.yml


@pytest.fixture(scope="session")
def wheels() -> Path:
    """What a wheel is built with, which no step could fetch without a network."""
    for lock in ("build", "sbom"):
        # What is there already is not fetched again.
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        command += ["--find-links", str(WHEELS), "-d", str(WHEELS)]
        command += ["--require-hashes", "-r", f"requirements/{lock}.txt"]
        done = None
        for offline in (["--no-index"], []):
            done = subprocess.run(
                [*command, *offline], cwd=ROOT, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                break
        assert done is not None
        if done.returncode and not os.environ.get("CI"):
            pytest.skip(f"what makes a release is not here; `make test` fetches it: {done.stderr}")
        assert done.returncode == 0, done.stderr
    return WHEELS


def release_rights() -> dict[str, str]:
    workflow = yaml.safe_load((ROOT / WORKFLOWS / "release.yml").read_text(encoding="utf-8"))
    rights: dict[str, str] = workflow["jobs"]["release"]["permissions"]
    return rights


def released(repository: Path, out: Path, tag: str, *, wheels: Path, github: Double) -> Run:
    git(repository, "tag", tag)
    github.take(repository, release_rights())
    github.repo.git("fetch", "-q", str(repository), "+refs/tags/*:refs/tags/*")
    event = out.with_suffix(".event.json")
    event.write_text(json.dumps({"ref": f"refs/tags/{tag}"}))
    return run_own(
        repository,
        out,
        "push",
        "release.yml",
        *("-e", event),
        github=github,
        PATH=os.pathsep.join([str(HERE / "bin"), tools_path()]),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(wheels),
    )


def check_sbom(text: str, lock: str) -> None:
    """Hold a description against CycloneDX's schema, and its parts against the lock."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    told = json.loads(text)
    component = told["metadata"]["component"]
    assert (component["name"], component["version"]) == ("aprqa-ci", __version__)
    locked = (ROOT / f"requirements/{lock}.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", locked, re.MULTILINE))
    digests = set(re.findall(r"--hash=sha256:(\w+)", locked))
    assert {each["name"]: each["version"] for each in told["components"]} == pinned
    hashes = {
        entry["content"]
        for each in told["components"]
        for reference in each["externalReferences"]
        for entry in reference.get("hashes", ())
    }
    assert hashes == digests


def certify_with(wheel: Path, place: Path) -> None:
    """Certify the bundled model with what is in the wheel, where there is no repository."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    environment = {**os.environ, "PYTHONPATH": str(place / "site")}
    for arguments in (
        ("init", "bundled", "--tier", "quick"),
        ("certify", "playbooks/models/aprqa-tiny-quick.playbook.yaml"),
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "aprqa_ci", *arguments],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    evidence = (place / "certifications" / "aprqa-tiny-quick" / "evidence.json").read_text("utf-8")
    assert str(place / "site" / "aprqa_ci" / "data" / "models") in evidence


def built_elsewhere(repository: Path, place: Path, wheels: Path) -> bytes:
    """Build the wheel again: another directory, time zone and locale, other modes of the files."""
    clone = place / "somewhere" / "else"
    script = (
        'umask 077 && git clone -q "$1" "$2" && cd "$2" && scripts/release/build.sh "$3" && cat '
        "dist/*.whl > wheel"
    )
    subprocess.run(
        ["/bin/sh", "-ec", script, "sh", str(repository), str(clone), TAG],
        env={
            "PATH": tools_path(),
            "HOME": str(place),
            "TZ": "Asia/Kathmandu",
            "LC_ALL": "C",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
        },
        check=True,
        capture_output=True,
    )
    return (clone / "wheel").read_bytes()


def test_a_tag_becomes_a_release_and_the_major_version_follows(
    action_repository: Path, github: Double, wheels: Path, tmp_path: Path
) -> None:
    repository = copy_of(action_repository, tmp_path / "repository")
    run = released(repository, tmp_path / "out", TAG, wheels=wheels, github=github)
    assert run.rc == 0, run.text()
    dist = run.artifacts() / "dist"
    (wheel,) = dist.glob("*.whl")
    assert wheel.name == f"aprqa_ci-{__version__}-py3-none-any.whl"
    described = {
        f"aprqa_ci-{__version__}-{lock}.cdx.json": lock
        for lock in ("run", "hub", "github", "attest")
    }
    certify_with(wheel, tmp_path / "elsewhere")
    made = sorted(path.name for path in dist.iterdir())
    assert made == sorted([wheel.name, *described])
    for name in made:
        digest = hashlib.sha256((dist / name).read_bytes()).hexdigest()
        assert f"not attested (stub): {name} sha256:{digest}" in run.text("wheel")
    for name, lock in described.items():
        check_sbom((dist / name).read_text(encoding="utf-8"), lock)
    assert built_elsewhere(repository, tmp_path, wheels) == wheel.read_bytes()
    release = json.loads((run.directory / "gh/release.json").read_text())
    assert release == {"tag": TAG, "files": made}
    head = git(repository, "rev-parse", "HEAD").strip()
    assert github.repo.rev(f"refs/tags/{MAJOR}") == head

    # The next release finds the tag of the major version there, and moves it.
    older = github.repo.commit_files("elsewhere", {"x": b"x"})
    github.repo.git("update-ref", f"refs/tags/{MAJOR}", older)
    (step,) = (
        each
        for each in yaml.safe_load((ROOT / WORKFLOWS / "release.yml").read_text())["jobs"][
            "release"
        ]["steps"]
        if each["name"] == "Move the tag of the major version"
    )
    subprocess.run(
        ["/bin/bash", "-e", "-o", "pipefail", "-c", step["run"]],
        env={
            "PATH": os.pathsep.join([str(HERE / "bin"), tools_path()]),
            "GH_TOKEN": TOKEN,
            "GITHUB_API_URL": github.hub.base_url,
            "GITHUB_REPOSITORY": "octo/consumer",
            "GITHUB_REF_NAME": TAG,
            "GITHUB_SHA": head,
        },
        check=True,
        capture_output=True,
    )
    assert github.repo.rev(f"refs/tags/{MAJOR}") == head
    assert github.repo.rev(f"refs/tags/{TAG}") == head


def test_a_tag_of_another_version_is_not_released(
    action_repository: Path, github: Double, wheels: Path, tmp_path: Path
) -> None:
    repository = copy_of(action_repository, tmp_path / "repository")
    run = released(repository, tmp_path / "out", "v9.9.9", wheels=wheels, github=github)
    assert run.rc == 1
    assert f"the tag is v9.9.9 and the version is {__version__}" in run.text("wheel")
    assert run.steps("release") == []
    assert github.hub.log == []
