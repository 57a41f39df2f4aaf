"""Run one workflow with act (host mode, offline) and say what happened.

repo = export(ROOT, tmp_path / "repo")
run = run_act(repo, tmp_path / "result", "push", "-W", ".github/workflows/ci.yml")
assert run.rc == 0
assert run.step("build", "test") == "success"
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["HERE", "Run", "export", "run_act", "tools_path"]

HERE = Path(__file__).resolve().parent

Entry = dict[str, Any]


def tools_path() -> str:
    """Return PATH with the tools beside the Python that runs the tests first."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def export(source: Path, target: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Copy the working tree (tracked and new files, nothing ignored) into a new repository.

    act copies the working tree of the repository it is given, with untracked files; an export keeps
    a test away from whatever else lies in the developer's checkout.

    Args:
        source: the working tree.
        target: is made.
        without: directories that are left out.
    """
    target.mkdir(parents=True)
    listed = git(source, "ls-files", "-z", "-co", "--exclude-standard").split("\0")
    for name in listed:
        if name and name.split("/")[0] not in without and (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)
    git(target, "init", "-q", "-b", "main")
    commit(target)
    git(target, "gc", "-q")
    return target


def commit(repository: Path) -> str:
    """Commit all that lies there and return the commit."""
    git(repository, "add", "-A")
    git(
        repository, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "export"
    )
    return git(repository, "rev-parse", "HEAD").strip()


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one act run did."""

    rc: int
    log: list[Entry]
    """act's JSON lines."""
    directory: Path
    noise: list[str] = field(default_factory=list)
    """Lines that are not JSON, such as act's last "Error: ..."."""

    def steps(self, job: str | None = None, **matrix: str) -> list[tuple[tuple[str, ...], str]]:
        """[(step id path, 'success' | 'failure' | 'skipped')] of the Main stage.

        The path of a step inside a composite action is (outer id, inner id); a step without an id
        is called by its index.
        """
        return [
            (tuple(entry["stepID"]), entry["stepResult"])
            for entry in self._of(job, matrix)
            if entry.get("stage") == "Main" and "stepResult" in entry
        ]

    def step(self, job: str, *path: str, **matrix: str) -> str:
        """The result of exactly one step; fails when it did not run or ran more than once."""
        found = [result for found, result in self.steps(job, **matrix) if found == path]
        assert len(found) == 1, (job, path, matrix, found, self.steps(), self.noise[-5:])
        return found[0]

    def outputs(self, job: str, *path: str, **matrix: str) -> dict[str, str]:
        """{name: value} that the step wrote to $GITHUB_OUTPUT."""
        return {
            entry["name"]: entry["arg"]
            for entry in self._of(job, matrix)
            if entry.get("command") == "set-output" and tuple(entry["stepID"]) == path
        }

    def annotations(
        self, level: str = "error", job: str | None = None, **matrix: str
    ) -> list[tuple[dict[str, str], str]]:
        """[(properties, message)] of ::error / ::warning / ::notice commands, unescaped."""
        rows = [entry for entry in self._of(job, matrix) if entry.get("command") == level]
        return [(entry["kvPairs"] or {}, entry["arg"]) for entry in rows]

    def summary(self, job: str) -> str:
        """All step summaries of a job."""
        entries = self._of(job, {})
        return "\n".join(each["content"] for each in entries if each.get("command") == "summary")

    def text(self, job: str | None = None, **matrix: str) -> str:
        """Everything the steps printed."""
        return "".join(each["msg"] for each in self._of(job, matrix) if each.get("raw_output"))

    def artifacts(self, run: str = "42") -> Path:
        """The directory that holds the run's artifacts, one directory each."""
        return self.directory / "artifacts" / run

    def _of(self, job: str | None, matrix: Mapping[str, str]) -> list[Entry]:
        return [
            entry
            for entry in self.log
            if job in {None, entry.get("jobID")}
            and all((entry.get("matrix") or {}).get(key) == value for key, value in matrix.items())
        ]


def run_act(
    repo: Path,
    out: Path,
    event: str,
    *arguments: object,
    env: Mapping[str, str] | None = None,
    maps: Mapping[str, Path] | None = None,
    timeout: float = 600,
) -> Run:
    """Run ``act EVENT ARGUMENTS...`` on a repository; results go to the directory ``out``.

    ``maps`` says what remote names mean: {"owner/repo@ref": directory}, for repositories other than
    ``actions/*``.
    """
    full = {
        **os.environ,
        "PATH": tools_path(),
        "STUB_PYTHON": sys.executable,
        "ACT_MAP": " ".join(f"{name}={directory}" for name, directory in (maps or {}).items()),
        **(env or {}),
    }
    script = [str(HERE / "act.sh"), str(out), str(repo)]
    command = ["bash", *script, event, "--json", *(str(each) for each in arguments)]
    done = subprocess.run(
        command, env=full, timeout=timeout, capture_output=True, text=True, check=False
    )
    assert (out / "rc").exists(), f"act.sh did not run ({done.returncode}): {done.stderr}"
    log, noise = [], []
    for line in (out / "log").read_text(errors="replace").splitlines():
        try:
            log.append(json.loads(line))
        except ValueError:
            noise.append(line)
    assert not any("fatal error" in line or line.startswith("panic") for line in noise), noise
    return Run(rc=int((out / "rc").read_text()), log=log, directory=out, noise=noise)
