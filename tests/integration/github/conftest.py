from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.registry.models_csv import EMPTY_REGISTRY
from tests.github_double.fakehub import FakeHub
from tests.github_double.fixtures import clock, connected, ghspec, hub, loopback_only

__all__ = ["clock", "connected", "ghspec", "hub", "loopback_only"]

README = (
    b"# widgets\r\n\r\n<!-- CERTIFICATION_TABLE_START -->\r\n<!-- CERTIFICATION_TABLE_END -->\r\n"
)


@pytest.fixture
def registry(hub: FakeHub) -> bytes:
    """The registry that is on the main branch: odd in all ways that are allowed."""
    rows = (
        b'other/model,"a ""quoted"", family",7B,large,PENDING,0,-,none,2026-01-31T00:00:00+00:00,'
        b"false,false,false,false,,,,,,,false\r\n"
        b"\r\n"
        b"foreign/one,llama,1B,tiny,SOMETHING ELSE,12,C,none,2026-01-31T00:00:00+00:00,"
        b"TRUE,true,true,true,17.90,,,,,,true\n"
    )
    data = EMPTY_REGISTRY + rows
    files = {"docs/certifications/models.csv": data, "README.md": README, "other.txt": b"stays\n"}
    hub.repo.commit_files("main", files)
    return data


Clone = Callable[[str], Path]


@pytest.fixture
def clone(hub: FakeHub, tmp_path: Path) -> Callable[[str], Path]:
    """Clone a branch with git."""
    import subprocess

    def make(branch: str) -> Path:
        target = tmp_path / f"clone-of-{branch.replace('/', '-')}"
        url = f"{hub.base_url}/acme/widgets.git"
        command: list[Any] = ["git", "clone", "-q", "-b", branch, url, target]
        subprocess.run(command, check=True)
        subprocess.run(["git", "-C", target, "fsck", "--strict"], check=True, capture_output=True)  # noqa: S607 - git by its name
        return target

    return make
