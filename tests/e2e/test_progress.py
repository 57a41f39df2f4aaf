"""What a user sees while ``aprqa certify`` runs: bars on a terminal, plain lines elsewhere."""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from tests.tiny_llama import write_tiny_llama

ROOT = Path(__file__).parents[2]
NAME = "tiny-shown"
PLAYBOOK = f"""
name: {NAME}
version: "1.0.0"
model:
  hf_repo: aprqa/tiny
  local_path: model
  formats: [gguf]
  quantizations: [f16]
  size_category: tiny
test_matrix: {{modalities: [run, chat], backends: [cpu], scenario_count: 3}}
failure_policy: collect_all
"""
CELLS = (f"{NAME}:run-cpu-gguf-f16", f"{NAME}:chat-cpu-gguf-f16")
ESCAPE = b"\x1b["


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shown")
    model = write_tiny_llama(root / "model", config={"max_position_embeddings": 1024})
    convert_safetensors_to_gguf(model, model / "tiny-f16.gguf", "f16")
    (root / f"{NAME}.playbook.yaml").write_text(PLAYBOOK, encoding="utf-8")
    return root


def _command(out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "aprqa_ci", "certify", f"{NAME}.playbook.yaml"),
        *("--tier", "quick", "--no-register", "--out", str(out)),
    ]


def _environment(**more: str) -> dict[str, str]:
    plain = {
        name: value
        for name, value in os.environ.items()
        if name not in {"NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    }
    return plain | {"PYTHONPATH": str(ROOT)} | more


def test_a_line_per_cell_where_there_is_no_terminal(place: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        _command(tmp_path),
        cwd=place,
        env=_environment(HOME=str(tmp_path), TERM="xterm-256color"),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert ESCAPE not in done.stdout
    lines = done.stdout.decode().splitlines()
    shown = [line for line in lines if line.startswith(CELLS)][: len(CELLS)]
    assert [line.rpartition(": ")[0] for line in shown] == list(CELLS)
    assert all(re.search(r"\d+ corroborated", line) for line in shown)
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("columns", [120, 20])
def test_bars_on_a_terminal(place: Path, tmp_path: Path, columns: int) -> None:
    parent, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    with subprocess.Popen(
        _command(tmp_path),
        cwd=place,
        env=_environment(HOME=str(tmp_path), TERM="xterm-256color"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        shown = b""
        while chunk := _read(parent):
            shown += chunk
        code = process.wait(timeout=120)
    os.close(parent)
    assert code == 1, shown[-2000:]
    assert b"Traceback" not in shown
    assert ESCAPE in shown
    # The cursor is hidden while the bars move, and given back.
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
    if columns == 120:
        text = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown).decode()
        for cell in CELLS:
            assert re.search(rf"{cell} .*\d+/\d+", text)
        assert re.search(r"\d+ corroborated", text)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        # The other end is closed: Linux has no end of file there.
        return b""
