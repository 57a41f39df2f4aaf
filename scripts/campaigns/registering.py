"""Two ``aprqa register`` at once.

Each round starts two real commands at the same moment on one registry and one README: for two
models, for one model with two results, and with a lock that a killed process left. What must hold
each time: both end well, every row is there once, the table of the README is that of the registry,
and no lock is left.

    python -m scripts.campaigns.registering --rounds 50 --write
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from aprqa_ci.registry.lock import lock_path
from aprqa_ci.registry.models_csv import EMPTY_REGISTRY
from aprqa_ci.registry.readme_table import TABLE_END, TABLE_START, render_table, replace_table
from aprqa_ci.registry.update_file import read_registry_file
from aprqa_ci.vocabulary import Outcome
from scripts.campaigns.campaign import ROOT, Campaign, parser, run_campaign
from tests.bundles import made_bundle, scenario_id

__all__ = ["register_at_once"]

_LIMIT_SECONDS = 120.0
_README = f"# Models\n\n{TABLE_START}\n{TABLE_END}\n"


def register_at_once(
    campaign: Campaign, folder: Path, bundles: Sequence[Path], *, case: str, stale: bool = False
) -> None:
    """Register bundles all at once, and look at what came of it."""
    folder.mkdir()
    registry, readme = folder / "models.csv", folder / "README.md"
    registry.write_bytes(EMPTY_REGISTRY)
    readme.write_text(_README, encoding="utf-8")
    if stale:
        with subprocess.Popen([sys.executable, "-c", ""]) as gone:
            owner = {"pid": gone.pid, "host": socket.gethostname(), "time": "before"}
        lock_path(registry).write_text(json.dumps(owner), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    running = []
    for bundle in bundles:
        command = [sys.executable, "-m", "aprqa_ci", "register", str(bundle)]
        command += ["--registry", str(registry), "--readme", str(readme)]
        running.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
    codes = [process.wait(_LIMIT_SECONDS) for process in running]
    campaign.count("rounds")
    campaign.count("commands", len(codes))
    campaign.check("both ended well", holds=not any(codes), case=case)
    found = read_registry_file(registry)
    expected = {
        json.loads((bundle / "certificate.json").read_bytes())["model"]["hf_repo"]
        for bundle in bundles
    }
    ids = [row["model_id"] for row in found.rows]
    campaign.check("every row is there once", holds=sorted(ids) == sorted(expected), case=case)
    table = replace_table(_README, render_table(found))
    campaign.check(
        "README as the registry", holds=readme.read_text(encoding="utf-8") == table, case=case
    )
    left = {each.name for each in folder.iterdir()} - {"models.csv", "README.md"}
    campaign.check("no lock and no half-written file", holds=not left, case=case)


def main() -> int:
    """Run the campaign."""
    options = parser(__doc__ or "")
    options.add_argument("--rounds", type=int, default=50, help="of each kind")
    told = options.parse_args()

    def work(campaign: Campaign) -> None:
        with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
            folder = Path(scratch)
            one = made_bundle(folder / "one").directory
            other = made_bundle(folder / "other", model="org/other-1M").directory
            again = made_bundle(
                folder / "again", outcomes={scenario_id(): Outcome.FALSIFIED}
            ).directory
            for number in range(told.rounds):
                for case, bundles in (
                    (f"two models, round {number}", (one, other)),
                    (f"one model, round {number}", (one, again)),
                ):
                    place = folder / f"{case.partition(',')[0].replace(' ', '-')}-{number}"
                    register_at_once(campaign, place, bundles, case=case, stale=number % 5 == 0)

    return run_campaign("registering", work, write=told.write)


if __name__ == "__main__":
    sys.exit(main())
