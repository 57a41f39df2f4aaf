"""What every campaign shares: counting, and the page that the counts are written to.

A campaign does one thing to the tool again and again, and holds what comes of it against what must
hold each time. ``python -m scripts.campaigns.NAME --write``, from the repository's root, runs one
and puts its counts into ``docs/reliability.md``.
"""

import argparse
import os
import platform
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aprqa_ci.files import write_atomic
from aprqa_ci.markdown import Inline, code_span, escape_text, table

__all__ = ["BUNDLED", "PAGE", "QUICK", "ROOT", "Campaign", "parser", "run_campaign"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
QUICK = ROOT / "playbooks" / "models" / "aprqa-tiny-quick.playbook.yaml"
BUNDLED = ROOT / "aprqa_ci" / "data" / "models" / "aprqa-tiny"


@dataclass
class Campaign:
    """What one campaign did, and what of that which must hold did and did not."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    held: dict[str, Counter[bool]] = field(default_factory=lambda: defaultdict(Counter))
    failures: list[str] = field(default_factory=list)

    def count(self, what: str, by: int = 1) -> None:
        """Count something that was done or found."""
        self.counts[what] += by

    def check(self, what: str, *, holds: bool, case: str) -> bool:
        """Count a check, and note the case in which it does not hold."""
        self.held[what][holds] += 1
        if not holds:
            self.failures.append(f"{case}: {what}")
        return holds


def parser(about: str) -> argparse.ArgumentParser:
    """Return the options that every campaign has."""
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--write", action="store_true", help=f"put the counts into {PAGE.name}")
    made.add_argument("--seed", type=int, default=2026, help="of all that is chosen at random")
    return made


def run_campaign(name: str, work: Callable[[Campaign], None], *, write: bool) -> int:
    """Run a campaign, print its counts and, if so told, write them down; return the exit code."""
    campaign = Campaign(name)
    started = time.monotonic()
    work(campaign)
    minutes = (time.monotonic() - started) / 60
    text = _rendered(campaign, minutes)
    print(text)
    for failure in campaign.failures:
        print(f"did not hold: {failure}", file=sys.stderr)
    if write:
        page = PAGE.read_text(encoding="utf-8")
        write_atomic(PAGE, _replaced(page, name, text).encode())
    return 1 if campaign.failures else 0


def _rendered(campaign: Campaign, minutes: float) -> str:
    done = [[escape_text(what), Inline(f"{count:,}")] for what, count in campaign.counts.items()]
    held = [
        [escape_text(what), Inline(f"{each[True]:,}"), Inline(f"{each[False]:,}")]
        for what, each in campaign.held.items()
    ]
    day = datetime.now(UTC).date().isoformat()
    machine = f"{_processor()}, {os.cpu_count()} processors, Linux {platform.release()}"
    told = f"Python {platform.python_version()}, {day}, {minutes:.1f} minutes"
    command = code_span(f"python -m scripts.campaigns.{campaign.name} --write")
    counts = table(["Done", "Count"], done, "lr")
    checks = table(["Must hold", "Held", "Did not"], held, "lrr")
    return (
        f"{counts}\n\n{checks}\n\nMeasured with {command}: {escape_text(f'{machine}; {told}')}.\n"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _replaced(page: str, name: str, text: str) -> str:
    start, end = (f"<!-- CAMPAIGN {name} {side} -->" for side in ("START", "END"))
    before, found, rest = page.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        msg = f"{PAGE} has no place for {name}: put {start} and {end} where it belongs"
        raise SystemExit(msg)
    return f"{before}{start}\n\n{text}\n{end}{after}"
