"""What machine this is: for the evidence, and for telling our troubles from the model's."""

import platform
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HostDescription", "available_memory_mb", "describe_host", "oom_kills"]

_GPU_QUERY = (
    "nvidia-smi",
    "--query-gpu=name,driver_version,memory.total",
    "--format=csv,noheader",
)
_MAX_TEXT = 200


@dataclass(frozen=True, kw_only=True)
class HostDescription:
    """The machine that a run is done on."""

    hostname: str
    os: str
    """The distribution, for example ``Debian GNU/Linux 12 (bookworm)``."""
    kernel: str
    cpu: str
    """The processor and its logical cores, for example ``AMD EPYC 9R14, 4 cores``."""
    memory_mb: int
    """The whole memory in MiB; 0 when the system does not say."""
    gpu: str | None
    """Each GPU with driver and memory, as the driver reports it; absent without one."""
    python: str


def describe_host(
    *,
    run: Callable[[Sequence[str]], str | None],
    proc: Path = Path("/proc"),
    os_release: Path = Path("/etc/os-release"),
) -> HostDescription:
    """Describe this machine. What cannot be found out is named ``unknown``, never guessed.

    Args:
        run: runs a command with a time limit and returns what it wrote to standard output; nothing
            when it is missing, fails or takes too long.
        proc: the proc file system.
        os_release: the file that names the distribution.
    """
    return HostDescription(
        hostname=_clean(socket.gethostname()),
        os=_distribution(os_release),
        kernel=_clean(f"{platform.system()} {platform.release()}"),
        cpu=_processor(proc),
        memory_mb=_memory_mb(proc, "MemTotal"),
        gpu=_gpus(run(_GPU_QUERY)),
        python=platform.python_version(),
    )


def available_memory_mb(proc: Path = Path("/proc")) -> int:
    """Return the memory, in MiB, that can be had without swapping; 0 when the system hides it.

    The kernel's own estimate (``MemAvailable``); a container's own limit is not in it.
    """
    return _memory_mb(proc, "MemAvailable")


def oom_kills(proc: Path = Path("/proc")) -> int:
    """Return how many processes the kernel has killed for want of memory since it started.

    A count that grew while a child died by SIGKILL says that the machine was too small, which is
    not the model's fault. 0 when the kernel does not count.
    """
    return _number(_read(proc / "vmstat"), r"^oom_kill (\d+)$")


def _processor(proc: Path) -> str:
    text = _read(proc / "cpuinfo")
    cores = len(re.findall(r"^processor\s*:", text, re.MULTILINE))
    # On ARM the kernel gives no model name; the architecture is all there is.
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = _clean(found[1]) if found else f"unknown ({platform.machine()})"
    return f"{name}, {cores} core{'' if cores == 1 else 's'}" if cores else name


def _memory_mb(proc: Path, field: str) -> int:
    return _number(_read(proc / "meminfo"), rf"^{field}:\s*(\d+) kB$") // 1024


def _gpus(output: str | None) -> str | None:
    lines = [_clean(line) for line in (output or "").splitlines()]
    # A driver without a device writes a sentence; a device is a line of three fields.
    return "; ".join(line for line in lines if line.count(",") >= 2)[:_MAX_TEXT] or None


def _distribution(os_release: Path) -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)"?$', _read(os_release), re.MULTILINE)
    return _clean(found[1]) if found else platform.system() or "unknown"


def _number(text: str, pattern: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _clean(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:_MAX_TEXT] or "unknown"
