"""What the NVIDIA driver says of the devices that a process of ours would see."""

import os
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from aprqa_ci.redaction import is_withheld

__all__ = ["GpuDevice", "RunCommand", "gpu_use", "holding", "run_command", "visible_devices"]

RunCommand = Callable[[Sequence[str]], str | None]
"""Runs a command with a time limit and returns its output; nothing when it is missing or fails."""

_DEVICES = (
    "nvidia-smi",
    "--query-gpu=index,uuid,memory.total,memory.free",
    "--format=csv,noheader,nounits",
)
_PROCESSES = (
    "nvidia-smi",
    "--query-compute-apps=gpu_uuid,pid,process_name",
    "--format=csv,noheader,nounits",
)
_MAX_NAME = 80
_COMMAND_SECONDS = 10
_MIB = 1 << 20


def run_command(command: Sequence[str]) -> str | None:
    """Run a command of this machine; see :data:`RunCommand`."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=True,
            env={name: text for name, text in os.environ.items() if not is_withheld(name)},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class GpuDevice:
    """One device."""

    index: str
    uuid: str
    total_mb: int
    free_mb: int
    processes: tuple[str, ...]
    """Everything that computes on it, as ``PID NAME``."""


def visible_devices(
    run: RunCommand, environment: Mapping[str, str]
) -> tuple[GpuDevice, ...] | None:
    """Return the devices that ``CUDA_VISIBLE_DEVICES`` leaves; nothing when no driver answers.

    Args:
        run: runs a command.
        environment: the environment variables that engines get.
    """
    listed, computing = run(_DEVICES), run(_PROCESSES)
    if listed is None or computing is None:
        return None
    processes: dict[str, list[str]] = {}
    for uuid, pid, name in _rows(computing, 3):
        shown = "".join(each if each.isprintable() else "?" for each in name)[-_MAX_NAME:]
        processes.setdefault(uuid, []).append(f"{pid} {shown}".strip())
    devices = [
        GpuDevice(
            index=index,
            uuid=uuid,
            total_mb=_number(total),
            free_mb=_number(free),
            processes=tuple(processes.get(uuid, ())),
        )
        for index, uuid, total, free in _rows(listed, 4)
    ]
    return tuple(_chosen(devices, environment.get("CUDA_VISIBLE_DEVICES")))


def holding(processes: Collection[int], devices: Sequence[GpuDevice]) -> str:
    """Return the UUID of the device that one of these processes computes on, or nothing."""
    ids = {str(each) for each in processes}
    for device in devices:
        if any(each.split(" ", 1)[0] in ids for each in device.processes):
            return device.uuid
    return ""


def gpu_use(
    processes: Collection[int],
    before: Sequence[GpuDevice],
    after: Sequence[GpuDevice],
    weights_bytes: int,
) -> str:
    """Return how the driver shows that a model was loaded onto a GPU, or nothing. Pure.

    A driver in a container may name no process, or name them by their numbers outside; memory is
    counted all the same.

    Args:
        processes: the ids of the process that loaded the model, and of those that it started.
        before: the devices before loading.
        after: the devices with the model loaded.
        weights_bytes: the size of the model's files.
    """
    if on := holding(processes, after):
        return f"the driver lists its process as computing on {on}"
    free = {each.uuid: each.free_mb for each in before}
    taken = sum(max(0, free.get(each.uuid, 0) - each.free_mb) for each in after)
    if taken * _MIB * 2 >= weights_bytes > 0:
        return f"by the driver's count loading took {taken} MiB of GPU memory"
    return ""


def _chosen(devices: Sequence[GpuDevice], wanted: str | None) -> list[GpuDevice]:
    if wanted is None:
        return list(devices)
    chosen = []
    for name in (part.strip() for part in wanted.split(",")):
        if name.startswith("MIG-"):
            # A part of a device: which one, only the driver's own numbering tells.
            return list(devices)
        found = [
            each
            for each in devices
            if each.index == name or (name.startswith("GPU-") and each.uuid.startswith(name))
        ]
        if not found:
            break  # CUDA sees no device from the first invalid one on
        chosen += found
    return chosen


def _rows(output: str, fields: int) -> list[list[str]]:
    """Return the lines that have so many fields; the last takes what commas are left."""
    rows = [[part.strip() for part in line.split(",", fields - 1)] for line in output.splitlines()]
    return [row for row in rows if len(row) == fields and row[0]]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
