"""Fuzz one reader of strangers' bytes, or all, for as long as wished.

    python scripts/fuzz.py TARGET|all --seconds N [--finds DIRECTORY]

With atheris installed (``pip install atheris``; it is no dependency of the project) the mutations
are guided by what they reach; without it they are blind. What comes out besides the errors that a
target may raise is a find, and so is an input that takes longer than 20 s or more than 2 GiB. The
bytes of finds, and of inputs that took longer than a second, are left in the folder of finds; they
belong into ``tests/data/fuzz/TARGET`` once it is mended. Exit code 1 when there was a find.
"""

import argparse
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

ROOT = Path(__file__).resolve().parents[1]
MAX_LENGTH = 1 << 16
MAX_SECONDS = 20
MAX_MEMORY_MB = 2048


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz readers of strangers' bytes.")
    parser.add_argument("target", help="a name, or all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--finds", type=Path, default=ROOT / "fuzz-finds")
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if asked.target == "all":
        return _all(asked.seconds, asked.finds)
    if atheris is not None:
        with atheris.instrument_imports(include=["aprqa_ci"]):
            from tests.fuzz_targets import TARGETS, seeds_of  # noqa: PLC0415 - instrumented
    else:
        from tests.fuzz_targets import TARGETS, seeds_of  # noqa: PLC0415 - not before it is found
    if asked.target not in TARGETS:
        parser.error(f"the targets are all, {', '.join(sorted(TARGETS))}")
    target = TARGETS[asked.target]
    counts = _Counts(asked.target, asked.finds, target.run)
    fuzz = _blindly if atheris is None else _guided
    fuzz(counts, seeds_of(asked.target), list(target.words), asked.seconds)
    return counts.tell()


def _all(seconds: int, finds: Path) -> int:
    """Run every target in a process of its own: a guided one ends its process."""
    from tests.fuzz_targets import TARGETS  # noqa: PLC0415 - not before it is found

    codes = []
    for name in TARGETS:
        own = [sys.executable, __file__, name, "--seconds", str(seconds), "--finds", str(finds)]
        codes.append(subprocess.run(own, check=False).returncode)
    return int(any(codes))


class _Counts:
    """Runs inputs, counts them, and keeps one input of each kind of find."""

    def __init__(self, name: str, finds: Path, run: Callable[[bytes], bool]) -> None:
        self._name, self.folder, self._run = name, finds / name, run
        self.folder.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic()
        self._kinds: set[str] = set()
        self._taken = self._executions = 0
        self._slowest = 0.0

    def one(self, data: bytes) -> None:
        self._executions += 1
        started = time.process_time()
        try:
            self._taken += self._run(bytes(data))
        except MemoryError:
            self._keep("MemoryError", data)
        except Exception as error:  # noqa: BLE001 - whatever else comes out is what is looked for
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._keep(f"{type(error).__name__}-{Path(where.filename).stem}-{where.lineno}", data)
        spent = time.process_time() - started
        if spent > self._slowest:
            self._slowest = spent
            if spent > 1:
                self._keep(f"slow-{spent:.0f}s", data)

    def _keep(self, kind: str, data: bytes) -> None:
        if kind in self._kinds:
            return
        if not kind.startswith("slow"):
            self._kinds.add(kind)
            traceback.print_exc()
        (self.folder / kind).write_bytes(data)

    def tell(self) -> int:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        seconds = time.monotonic() - self._started
        kinds = ", ".join(sorted(self._kinds)) or "none"
        print(
            f"{self._name}: {self._executions} executions in {seconds:.0f} s, {self._taken} taken, "
            f"slowest {self._slowest:.2f} s, peak {memory} MiB, finds: {kinds}",
            flush=True,
        )
        return int(bool(self._kinds))


def _guided(counts: _Counts, seeds: list[bytes], words: list[bytes], seconds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="aprqa-fuzz-corpus-") as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(seeds):
            (corpus / str(number)).write_bytes(seed[:MAX_LENGTH])
        dictionary = Path(folder) / "words"
        short = [word for word in words if len(word) <= 60]
        lines = ['"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in short]
        dictionary.write_text("\n".join([*lines, ""]), encoding="ascii")
        ends = time.monotonic() + seconds

        def one(data: bytes) -> None:
            if time.monotonic() > ends:
                code = counts.tell()
                shutil.rmtree(folder)
                # libFuzzer takes any other way out for a find.
                os._exit(code)
            counts.one(data)

        atheris.Setup(
            [
                *(sys.argv[0], str(corpus), f"-dict={dictionary}", f"-max_len={MAX_LENGTH}"),
                *(f"-timeout={MAX_SECONDS}", f"-rss_limit_mb={MAX_MEMORY_MB}"),
                *(
                    "-verbosity=0",
                    "-print_final_stats=0",
                    f"-artifact_prefix={counts.folder}/stopped-",
                ),
            ],
            one,
        )
        atheris.Fuzz()


def _blindly(counts: _Counts, seeds: list[bytes], words: list[bytes], seconds: int) -> None:
    draw = random.Random(0)
    ends = time.monotonic() + seconds
    for seed in seeds:
        counts.one(seed)
    while time.monotonic() < ends:
        data = bytearray(draw.choice(seeds))
        for _ in range(draw.randint(1, 6)):
            at = draw.randint(0, len(data))
            cut = draw.randint(0, min(16, len(data) - at))
            put = draw.choice([draw.randbytes(draw.randint(0, 4)), draw.choice([*words, b""])])
            data[at : at + cut] = put
        counts.one(bytes(data[:MAX_LENGTH]))


if __name__ == "__main__":
    sys.exit(main())
