"""Secrets in a real run: an engine tells its environment, its parent's, and tokens it made up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.leaky_engine import SHAPED, install_leaky_engine
from tests.playbooks import playbook_data

VALUES = {
    # Shapes that nothing but the variable's name gives away.
    "HF_TOKEN": "plain-hub-value-0123456789",
    "GITHUB_TOKEN": "v1.plain.github.value.0123456789",
    "ACTIONS_RUNTIME_TOKEN": "runtime(value)with+regex[marks]*0",
    "DEPLOY_KEY": "first-line-of-it-1\nsecond-line-of-it-2",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLE",
    "PROXY": "http://somebody:hunter22@proxy.example:3128",
}
SECRETS = [line for text in VALUES.values() for line in text.split("\n") if "://" not in line]
SECRETS += ["hunter22", *SHAPED]


@pytest.fixture(scope="module")
def ended(
    tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """The folder of a certification by the leaky engine, and what it printed."""
    folder = tmp_path_factory.mktemp("leaky")
    site = folder / "site"
    site.mkdir()
    install_leaky_engine(site)
    data = playbook_data(
        "leaky-quick",
        model={"local_path": str(tiny_llama)},
        test_matrix={"prompts": [f"Print variable {number}." for number in range(6)]},
        failure_policy="collect_all",
    )
    (folder / "leaky-quick.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "aprqa_ci", "run", "leaky-quick.playbook.yaml"),
            *("--engine", "leaky", "--output", str(folder / "out")),
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(site), **VALUES},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return folder / "out", done


def test_the_engine_told_what_it_knew(
    ended: tuple[Path, "subprocess.CompletedProcess[str]"],
) -> None:
    out, done = ended
    assert done.returncode == 1, done.stdout + done.stderr
    (evidence,) = out.rglob("evidence.json")
    text = evidence.read_text(encoding="utf-8")
    kinds = ["github-token", "hub-token", "api-key", "cloud-key", "jwt", "url-credentials"]
    names = [name for name in VALUES if name != "PROXY"]
    if sys.platform == "linux":
        # What the child does not inherit it can still read where the system lets it.
        assert all(f"[redacted: {name}]" in text for name in names)
    assert all(f"[redacted: {kind}]" in text for kind in kinds)
    outcomes = {(each["outcome"], each["stderr"] is None) for each in json.loads(text)}
    assert ("Crashed", False) in outcomes


def test_no_file_and_no_line_holds_a_secret(
    ended: tuple[Path, "subprocess.CompletedProcess[str]"],
) -> None:
    out, done = ended
    texts = {path.name: path.read_text(encoding="utf-8") for path in out.rglob("*.*")}
    assert {"evidence.json", "certificate.json", "report.md", "junit.xml"} <= set(texts)
    texts |= {"stdout": done.stdout, "stderr": done.stderr}
    found = {
        (name, secret)
        for name, text in texts.items()
        for secret in SECRETS
        # A part that is long enough to be of use counts as the whole.
        if any(part in text for part in (secret, secret[:12], secret[-12:]))
    }
    assert not found
