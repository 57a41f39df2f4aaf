"""A job that is cancelled at a random instant, as GitHub's runner does it.

The runner sends SIGINT, after 7.5 s SIGTERM, and 2.5 s later it kills. Each trial runs a shard as
the action does and signals it so. What must hold each time: the step ends within the 7.5 s and with
the code of the signal, no process is left, and once there is a journal the shard leaves a manifest
and evidence that has all of it, which `aprqa merge` takes.

    python -m scripts.campaigns.cancelling --trials 60 --write
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aprqa_ci.errors import InputError
from aprqa_ci.evidence.journal import JOURNAL_NAME
from aprqa_ci.evidence.merging import MANIFEST_NAME, read_shard
from scripts.campaigns.campaign import QUICK, ROOT, Campaign, parser, run_campaign
from scripts.campaigns.killing import MARK, all_gone

__all__ = ["GRACE_SECONDS", "cancel"]

GRACE_SECONDS = 7.5
_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
_QUESTIONS = 1000
_LIMIT_SECONDS = 120.0


def _step(folder: Path, command: str, mark: str) -> "subprocess.Popen[bytes]":
    (folder / "event.json").write_text("{}", encoding="utf-8")
    playbook = folder / "tiny.playbook.yaml"
    text = QUICK.read_text(encoding="utf-8").replace("../../aprqa_ci", str(ROOT / "aprqa_ci"))
    text = text.replace("scenario_count: 5", f"scenario_count: {_QUESTIONS}")
    playbook.write_text(text, encoding="utf-8")
    running = command == "run"
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("GITHUB_")},
        "PYTHONPATH": str(ROOT),
        MARK: mark,
        "GITHUB_EVENT_PATH": str(folder / "event.json"),
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_REPOSITORY": "org/repo",
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_SHA": "a" * 40,
        "GITHUB_ACTOR": "someone",
        "GITHUB_RUN_ID": "77",
        "INPUT_COMMAND": command,
        "INPUT_PLAYBOOKS": "" if running else str(playbook),
        **({"INPUT_SHARD": "s001"} if running else {}),
    }
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "aprqa_ci", "action"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )


def cancel(campaign: Campaign, folder: Path, number: signal.Signals, instant: float) -> None:
    """Plan, run the shard, and signal it so many seconds after its journal was begun."""
    case = f"{number.name} {instant:.3f} s after the first line"
    if _step(folder, "plan", case).wait(_LIMIT_SECONDS) != 0:
        raise SystemExit((folder / "log").read_text(encoding="utf-8"))
    shard = folder / "aprqa-out" / "shard"
    running = _step(folder, "run", case)
    began = time.monotonic()
    while not (shard / JOURNAL_NAME).exists():
        if running.poll() is not None or time.monotonic() - began > _LIMIT_SECONDS:
            raise SystemExit((folder / "log").read_text(encoding="utf-8"))
        time.sleep(0.005)
    time.sleep(instant)
    signalled = time.monotonic()
    running.send_signal(number)
    try:
        code = running.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        running.kill()
        code = running.wait()
    campaign.count(f"shards sent {number.name}")
    campaign.count("milliseconds to the end, in sum", round(1000 * (time.monotonic() - signalled)))
    campaign.check("ended in time, with its code", holds=code == _CODES[number], case=case)
    campaign.check("no process left", holds=all_gone(case), case=case)
    try:
        left = read_shard(shard)
    except InputError:
        campaign.check("manifest and evidence are left", holds=False, case=case)
        return
    recorded = (shard / JOURNAL_NAME).read_bytes().count(b'"gate_id"')
    campaign.count("records", recorded)
    held = left.manifest.exit == code and len(left.records) == recorded
    campaign.check("manifest and evidence are left", holds=held, case=case)
    manifest = json.loads((shard / MANIFEST_NAME).read_bytes())
    campaign.check("the manifest names the evidence", holds=bool(manifest["files"]), case=case)


def main() -> int:
    """Run the campaign."""
    options = parser(__doc__ or "")
    options.add_argument("--trials", type=int, default=60)
    told = options.parse_args()

    def work(campaign: Campaign) -> None:
        chance = random.Random(told.seed)
        for _ in range(told.trials):
            number = chance.choice((signal.SIGINT, signal.SIGTERM))
            with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
                cancel(campaign, Path(scratch), number, chance.uniform(0, 3))

    return run_campaign("cancelling", work, write=told.write)


if __name__ == "__main__":
    sys.exit(main())
