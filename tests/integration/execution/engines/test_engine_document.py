"""The worked example of docs/engines.md, installed as a package and held to its promises."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from aprqa_ci.execution.engines.openai_options import OPTION_MEANINGS, PLACEHOLDERS

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "engines.md"


def blocks() -> dict[str, str]:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.findall(r"^`([a-z_.]+)`:\n\n```[a-z]+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return dict(found)


def test_an_engine_is_one_file_and_one_entry_point(tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    files = blocks()
    assert set(files) == {"my_engine.py", "pyproject.toml"}
    for name, text in files.items():
        (source / name).write_text(text, encoding="utf-8")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", "-q", *offline, "--target", str(site)]
    subprocess.run([*command, str(source)], check=True, timeout=120, cwd=tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    checked = subprocess.run(
        [sys.executable, "-m", "aprqa_ci", "engines", "--check", "mine", "bundled", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    report = json.loads(checked.stdout)
    assert (report["engine"], report["version"]) == ("mine", "1.0")
    assert {result["state"] for result in report["results"]} == {"passed"}


def test_every_option_of_the_openai_engine_is_in_the_document() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in OPTION_MEANINGS)
    assert all(f"{{{name}}}" in text for name in PLACEHOLDERS)
