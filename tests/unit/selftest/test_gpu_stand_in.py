"""The GPU that is none: who computes on it is listed, and nobody else is."""

import os
import subprocess
from pathlib import Path

import pytest

from aprqa_ci.execution.gpu_devices import gpu_use, visible_devices
from aprqa_ci.selftest.gpu_stand_in import compute_on_stand_in, install_stand_in


def test_the_driver_lists_who_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in install_stand_in(tmp_path, os.environ).items():
        monkeypatch.setenv(name, value)

    def run(command: object) -> str:
        assert isinstance(command, tuple)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    before = visible_devices(run, {})
    assert before is not None
    assert [each.processes for each in before] == [()]
    compute_on_stand_in()
    after = visible_devices(run, {})
    assert after is not None
    assert gpu_use({os.getpid()}, before, after, 1 << 20)
    assert gpu_use({os.getpid() + 1}, before, after, 1 << 20) == ""


def test_where_there_is_none_nothing_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("APRQA_SELFTEST_GPU", raising=False)
    compute_on_stand_in()
