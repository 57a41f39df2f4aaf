"""``kill -9`` at a random instant of a run, then ``--resume``.

Each trial starts the real command on the bundled model, kills it without warning, and goes on with
``--resume``; one in four is killed again while it resumes. What must hold each time: no process is
left, everything that was recorded is in the final evidence byte for byte, and the evidence and the
certificate are those of an undisturbed run but for ids, times and what was measured.

    python -m scripts.campaigns.killing --trials 200 --write
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec

from aprqa_ci.cli.main import run
from aprqa_ci.evidence.journal import JOURNAL_NAME, is_blank, read_journal
from aprqa_ci.evidence.reading import read_evidence
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.execution.processes import has_variable, is_alive, process_ids
from aprqa_ci.files import read_bounded
from aprqa_ci.registry.update_file import read_registry_file
from scripts.campaigns.campaign import QUICK, ROOT, Campaign, parser, run_campaign

__all__ = [
    "MARK",
    "Undisturbed",
    "all_gone",
    "kill_and_resume",
    "recorded",
    "result_of",
    "started",
    "undisturbed",
]

MARK = "APRQA_CAMPAIGN"
_NAME = "aprqa-tiny-quick"
_QUESTIONS = 120
"""More than the playbook has, so that most instants are among the answers."""
_GRACE_SECONDS = 5.0
_LIMIT_SECONDS = 300.0
_DURATION = re.compile(r"\d+ ms")
_MEASURED = {
    *("id", "run_id", "timestamp", "started", "finished", "evidence_digest", "records"),
    *("tokens_per_second", "time_to_first_token_ms", "memory_peak_mb", "duration_ms"),
    "last_certified",
}


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """What a run that nobody disturbs comes to."""

    seconds: float
    exit_code: int
    result: object
    """Evidence, certificate and row, without what differs from run to run."""


def undisturbed(folder: Path, *, questions: int = _QUESTIONS) -> Undisturbed:
    """Run once from beginning to end; the playbook, of so many questions, is left beside."""
    text = QUICK.read_text(encoding="utf-8").replace("../../aprqa_ci", str(ROOT / "aprqa_ci"))
    text = text.replace("scenario_count: 5", f"scenario_count: {questions}")
    _playbook(folder).write_text(text, encoding="utf-8")
    began = time.monotonic()
    code = started(folder, "undisturbed").wait(_LIMIT_SECONDS)
    seconds = time.monotonic() - began
    return Undisturbed(seconds=seconds, exit_code=code, result=result_of(folder))


def kill_and_resume(
    campaign: Campaign, folder: Path, expected: Undisturbed, instants: Sequence[float]
) -> None:
    """Kill a run, and its resumptions, after so many seconds each; then let one come to its end."""
    case = f"killed after {', '.join(f'{each:.3f}' for each in instants)} s"
    bundle = folder / "out" / _NAME
    known: dict[str, bytes] = {}
    code = -signal.SIGKILL
    for number, instant in enumerate(instants):
        process = started(folder, case, resume=number > 0)
        try:
            code = process.wait(instant)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            code = process.wait()
        if code == expected.exit_code:
            campaign.count("runs that were over before the kill")
            break
        campaign.count("runs killed")
        if (bundle / "certificate.json").exists() and not (bundle / JOURNAL_NAME).exists():
            # Killed on its way out: all was delivered, and what is started now is a new run.
            campaign.count("of which had delivered everything")
            code = expected.exit_code
            break
        campaign.check("no process left", holds=all_gone(case), case=case)
        found = recorded(bundle)
        campaign.check(
            "what was recorded before is there", holds=known.items() <= found.items(), case=case
        )
        known = found
    campaign.count("records at the last kill", len(known))
    if code != expected.exit_code:
        code = started(folder, case, resume=True).wait(_LIMIT_SECONDS)
    campaign.check("exit code as undisturbed", holds=code == expected.exit_code, case=case)
    campaign.check("no process left", holds=all_gone(case), case=case)
    final = {each.id: msgspec.json.encode(each) for each in read_evidence(bundle / "evidence.json")}
    lost = known.items() - final.items()
    campaign.count("records lost", len(lost))
    campaign.check("every record is in the final evidence", holds=not lost, case=case)
    campaign.check(
        "final state as undisturbed", holds=result_of(folder) == expected.result, case=case
    )
    with redirect_stdout(StringIO()):
        verified = run(["verify", str(bundle)])
    campaign.check("the chain verifies", holds=verified == 0, case=case)
    left = [each for each in folder.rglob(".*") if each.is_file()]
    campaign.count("half-written files beside whole ones", len(left))


def started(
    folder: Path, mark: str, *, resume: bool = False, beside: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start the command.

    Args:
        folder: where its files go; the playbook lies in the folder above.
        mark: found in the environment of every process of it.
        resume: go on with what was interrupted.
        beside: where log and scratch go instead.
    """
    aside = beside or folder
    command = [sys.executable, "-m", "aprqa_ci", "certify", str(_playbook(folder))]
    command += ["--out", "out", "--registry", "models.csv", *(["--resume"] if resume else [])]
    scratch = aside / "scratch"
    scratch.mkdir(exist_ok=True)
    environment = {**os.environ, MARK: mark, "TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)}
    with (aside / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def _playbook(folder: Path) -> Path:
    return folder.parent / "tiny.playbook.yaml"


def all_gone(mark: str) -> bool:
    """Wait a little for every process with this mark to end, and say whether all have."""
    deadline = time.monotonic() + _GRACE_SECONDS
    while any(has_variable(each, MARK, mark) and is_alive(each) for each in process_ids()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def recorded(bundle: Path) -> dict[str, bytes]:
    """Return what a run left, by record id: of its journal, or of its evidence once that is all."""
    journal, evidence = bundle / JOURNAL_NAME, bundle / "evidence.json"
    records: Sequence[EvidenceRecord] = ()
    if journal.exists():
        records = () if is_blank(journal) else read_journal(journal).records
    elif evidence.exists():
        records = read_evidence(evidence)
    return {each.id: msgspec.json.encode(each) for each in records}


def result_of(folder: Path) -> object:
    """Return evidence, certificate and row without what differs from run to run."""
    bundle = folder / "out" / _NAME
    found = [
        msgspec.json.decode(read_bounded(bundle / name, 1 << 30))
        for name in ("evidence.json", "certificate.json", "plan.json")
    ]
    rows = [dict(row) for row in read_registry_file(folder / "models.csv").rows]
    return _constant([*found, rows])


def _constant(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value without what differs from run to run."""
    if isinstance(value, Mapping):
        return {key: _constant(each) for key, each in value.items() if key not in _MEASURED}
    if isinstance(value, list):
        return [_constant(each) for each in value]
    return _DURATION.sub("… ms", value) if isinstance(value, str) else value


def main() -> int:
    """Run the campaign."""
    options = parser(__doc__ or "")
    options.add_argument("--trials", type=int, default=200)
    told = options.parse_args()

    def work(campaign: Campaign) -> None:
        chance = random.Random(told.seed)
        with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
            first = Path(scratch) / "undisturbed"
            first.mkdir()
            expected = undisturbed(first)
            for number in range(told.trials):
                folder = Path(scratch) / f"trial-{number:03d}"
                folder.mkdir()
                instants = [chance.uniform(0, expected.seconds)]
                if chance.random() < 0.25:
                    instants.append(chance.uniform(0, expected.seconds))
                campaign.count("trials")
                kill_and_resume(campaign, folder, expected, instants)
                if not campaign.failures:
                    shutil.rmtree(folder)

    return run_campaign("killing", work, write=told.write)


if __name__ == "__main__":
    sys.exit(main())
