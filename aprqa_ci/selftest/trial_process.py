"""A trial in a process of its own: what hangs is ended, what dies takes nothing with it.

Started as ``python -m aprqa_ci.selftest.trial_process``: a trial as JSON on standard input, its
result as JSON on standard output.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from aprqa_ci.selftest.trial import Trial, TrialResult, run_trial

__all__ = ["main", "run_apart"]

_COMMAND: Final = (sys.executable, "-P", "-m", "aprqa_ci.selftest.trial_process")
_MOST_STDERR = 2000


def run_apart(
    trial: Trial, *, time_box_s: float, command: tuple[str, ...] = _COMMAND
) -> TrialResult:
    """Run a trial in a process of its own, and end it when it takes too long.

    Args:
        trial: the trial.
        time_box_s: how long it may take, seconds.
        command: what runs it.
    """
    request = msgspec.json.encode(trial, enc_hook=str)
    # In a group of its own: the terminal's Ctrl-C is the affair of the process that started it.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Threads of the matrix library wait for each other longer than a tiny model computes.
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    ) as process:
        try:
            reply, said = process.communicate(request, timeout=time_box_s)
        except subprocess.TimeoutExpired:
            return _lost(trial, f"the pipeline did not end within {time_box_s:g} s")
        finally:
            # Its own children die with it, for the kernel ends them.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    try:
        result: TrialResult = msgspec.json.decode(reply, type=TrialResult)
    except msgspec.DecodeError:
        last = said.decode(errors="replace")[-_MOST_STDERR:].strip()
        return _lost(trial, f"the pipeline's process ended with {process.returncode}: {last}")
    return result


def _lost(trial: Trial, why: str) -> TrialResult:
    return TrialResult(id=trial.id, lack=why)


def main() -> None:
    """Run the trial on standard input."""
    trial = msgspec.json.decode(
        sys.stdin.buffer.read(), type=Trial, dec_hook=lambda _, text: Path(text)
    )
    sys.stdout.buffer.write(msgspec.json.encode(run_trial(trial)))


if __name__ == "__main__":
    main()
