import platform
from collections.abc import Sequence
from pathlib import Path

import pytest

from aprqa_ci.execution.host import available_memory_mb, describe_host, oom_kills

CPUINFO = """processor\t: 0
model name\t: AMD EPYC   9R14
processor\t: 1
model name\t: AMD EPYC   9R14
"""
MEMINFO = "MemTotal:       24683060 kB\nMemFree:        1 kB\nMemAvailable:   20480000 kB\n"
VMSTAT = "nr_free_pages 1\noom_kill_extra 9\noom_kill 3\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    root = tmp_path / "proc"
    root.mkdir()
    (root / "cpuinfo").write_text(CPUINFO)
    (root / "meminfo").write_text(MEMINFO)
    (root / "vmstat").write_text(VMSTAT)
    (tmp_path / "os-release").write_text('NAME="x"\nPRETTY_NAME="Debian GNU/Linux 12"\n')
    return root


def _nothing(_: Sequence[str]) -> str | None:
    return None


def test_a_machine_is_described_from_what_the_system_says(proc: Path) -> None:
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str | None:
        asked.append(command)
        return "NVIDIA H200, 565.57, 143771 MiB\nNVIDIA H200, 565.57, 143771 MiB\n"

    host = describe_host(run=run, proc=proc, os_release=proc.parent / "os-release")
    assert host.cpu == "AMD EPYC 9R14, 2 cores"
    assert host.memory_mb == 24104
    assert host.gpu == "NVIDIA H200, 565.57, 143771 MiB; NVIDIA H200, 565.57, 143771 MiB"
    assert host.os == "Debian GNU/Linux 12"
    assert host.kernel == f"{platform.system()} {platform.release()}"
    assert host.python == platform.python_version()
    assert host.hostname
    assert asked[0][0] == "nvidia-smi"
    assert "--query-gpu=name,driver_version,memory.total" in asked[0]


@pytest.mark.parametrize(
    "output", [None, "", "No devices were found\n", "NVIDIA-SMI has failed, sorry\n"]
)
def test_without_a_gpu_there_is_none(proc: Path, output: str | None) -> None:
    assert describe_host(run=lambda _: output, proc=proc).gpu is None


def test_a_system_that_says_nothing_is_called_unknown(tmp_path: Path) -> None:
    host = describe_host(run=_nothing, proc=tmp_path, os_release=tmp_path / "none")
    assert host.cpu == f"unknown ({platform.machine()})"
    assert host.memory_mb == 0
    assert host.os == platform.system()
    assert available_memory_mb(tmp_path) == 0
    assert oom_kills(tmp_path) == 0


def test_a_processor_without_a_name_still_has_cores(proc: Path) -> None:
    (proc / "cpuinfo").write_text("processor\t: 0\nBogoMIPS\t: 50\n")
    cpu = describe_host(run=_nothing, proc=proc).cpu
    assert cpu == f"unknown ({platform.machine()}), 1 core"


def test_control_characters_do_not_reach_a_report(proc: Path) -> None:
    host = describe_host(run=lambda _: "GPU\x1b[31m, 1, 2\n", proc=proc)
    assert host.gpu == "GPU [31m, 1, 2"


def test_memory_and_kills_are_read_from_proc(proc: Path) -> None:
    assert available_memory_mb(proc) == 20000
    assert oom_kills(proc) == 3
