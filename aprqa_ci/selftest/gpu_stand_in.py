"""A GPU that is none, for machines without one: a driver that lists who says that it computes.

A sound engine computes on the processor here and is listed; one that lies about the GPU is not.
What is shown is that a cell needs the driver's word. That a real driver tells the truth, and is
understood, is not: that takes a GPU.
"""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["compute_on_stand_in", "install_stand_in"]

_VARIABLE: Final = "APRQA_SELFTEST_GPU"
_UUID: Final = "GPU-00000000-stand-in"
_MIB: Final = 65536


def install_stand_in(directory: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Write the driver's command and return the variables with which it is found first."""
    computing = directory / "computing"
    computing.touch()
    command = directory / "nvidia-smi"
    command.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        f"--query-gpu=*) echo '0, {_UUID}, {_MIB}, {_MIB}' ;;\n"
        f"*) cat {shlex.quote(str(computing))} ;;\n"
        "esac\n",
        encoding="utf-8",
    )
    command.chmod(0o755)
    path = os.pathsep.join(filter(None, (str(directory), environment.get("PATH", ""))))
    return {"PATH": path, _VARIABLE: str(computing)}


def compute_on_stand_in() -> None:
    """Have the driver list this process, where the stand-in is installed."""
    computing = os.environ.get(_VARIABLE)
    if computing is None:
        return
    with Path(computing).open("a", encoding="utf-8") as listed:
        listed.write(f"{_UUID}, {os.getpid()}, engine\n")
