"""Artifacts cut off at every 1 % of their length.

Each file that the tool reads back is cut at 0 %, 1 %, … 99 % of its length and given to every
command that reads it; a cut model is certified with the real engine. What must hold each time: the
command ends with one of our exit codes and a message, never with a traceback, and refuses the file,
or comes to no better verdict than the whole file gives. A journal is read up to its last whole
line.

    python -m scripts.campaigns.truncating --write
"""

import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import yaml

from aprqa_ci.certification.bundle import read_plan
from aprqa_ci.cli.main import run
from aprqa_ci.evidence.journal import Journal, JournalHead, is_blank, read_journal
from aprqa_ci.evidence.reading import read_evidence
from aprqa_ci.planning.plan import plan_digest
from aprqa_ci.registry.update_file import read_registry_file
from scripts.campaigns.campaign import BUNDLED, QUICK, Campaign, parser, run_campaign

__all__ = ["Artifact", "artifacts", "cut_artifact", "cut_journal", "cut_model", "made", "ran"]

_NAME = "aprqa-tiny-quick"
_WEIGHTS = {"gguf": "aprqa-tiny-q8_0.gguf", "safetensors": "model.safetensors"}


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file, and the commands that read it; all paths are below one folder."""

    path: str
    commands: tuple[tuple[str, ...], ...]
    may_be_whole: bool = False
    """Whether what is left of it can be a whole file, as that of a table is at the end of a row."""


def artifacts() -> tuple[Artifact, ...]:
    """Return every file that is read back."""
    bundle = f"out/{_NAME}"
    on_bundle = (
        ("verify", bundle),
        ("validate", bundle),
        ("report", bundle),
        ("score", bundle),
        ("register", bundle, "--registry", "other.csv"),
        ("publish", bundle, "--mode", "none"),
    )
    merging = ("merge", "shard", "--plan", "plan.json", "-o", "merged")
    return (
        Artifact(path=f"{bundle}/evidence.json", commands=on_bundle),
        Artifact(path=f"{bundle}/certificate.json", commands=(*on_bundle[:3], *on_bundle[4:])),
        Artifact(path=f"{bundle}/plan.json", commands=on_bundle),
        Artifact(path="plan.json", commands=(merging, ("run", "plan.json", "-o", "ran"))),
        Artifact(path="shard/manifest.json", commands=(merging,)),
        Artifact(
            path="shard/evidence.json", commands=(merging, ("validate", "shard/evidence.json"))
        ),
        Artifact(
            path="models.csv",
            commands=(("register", bundle, "--registry", "models.csv"),),
            may_be_whole=True,
        ),
    )


def made(folder: Path) -> None:
    """Run the bundled model, and leave each kind of file in a folder."""
    for command in (
        ("plan", str(QUICK), "-o", "plan.json"),
        ("run", "plan.json", "-o", "shard"),
        ("merge", "shard", "--plan", "plan.json", "-o", "out"),
        ("register", f"out/{_NAME}", "--registry", "models.csv"),
    ):
        code, said = ran(folder, command)
        if code != 0:
            raise SystemExit(said)


def cut_artifact(
    campaign: Campaign, folder: Path, artifact: Artifact, shares: Iterable[int]
) -> None:
    """Cut a file at so many percent of its length, and give it to each of its commands."""
    whole = (folder / artifact.path).read_bytes()
    rows = len(read_registry_file(folder / "models.csv").rows)
    for share in shares:
        case = f"{artifact.path} at {share} %"
        for command in artifact.commands:
            with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
                copy = Path(scratch) / "copy"
                shutil.copytree(folder, copy)
                cut = copy / artifact.path
                cut.write_bytes(whole[: len(whole) * share // 100])
                code, said = ran(copy, command)
                campaign.count(f"{artifact.path}: commands given a cut file")
                _check_end(campaign, code, said, f"{case}: {command[0]}")
                if not artifact.may_be_whole:
                    campaign.check("refused", holds=code in {1, 2}, case=f"{case}: {command[0]}")
                elif code == 0:
                    found = len(read_registry_file(cut).rows)
                    campaign.check("whole afterwards", holds=found == rows, case=case)


def cut_journal(campaign: Campaign, folder: Path, shares: Iterable[int]) -> None:
    """Cut a journal at so many percent, and read it."""
    records = read_evidence(folder / "shard" / "evidence.json")
    digest = plan_digest(read_plan(folder / "plan.json"))
    path = folder / "journal"
    head = JournalHead(run_id="run", plan_digest=digest, started="2026-01-01T00:00:00Z")
    with Journal(path, head, resume=False) as journal:
        for record in records:
            journal.append(record)
    whole = path.read_bytes()
    for share in shares:
        kept = whole[: len(whole) * share // 100]
        path.write_bytes(kept)
        lines = kept.count(b"\n")
        held = is_blank(path) if lines == 0 else read_journal(path).records == records[: lines - 1]
        campaign.count("journal: read")
        campaign.check(
            "the journal is read up to its last whole line",
            holds=held,
            case=f"journal at {share} %",
        )


def cut_model(campaign: Campaign, folder: Path, kind: str, shares: Iterable[int]) -> None:
    """Cut the weights of the bundled model at so many percent, and certify it."""
    model = folder / f"model-{kind}"
    shutil.copytree(BUNDLED, model)
    playbook = folder / f"{kind}.playbook.yaml"
    content = yaml.safe_load(QUICK.read_text(encoding="utf-8"))
    content["model"] |= {"local_path": str(model), "formats": [kind]}
    if kind == "safetensors":
        del content["model"]["quantizations"]
    playbook.write_text(yaml.safe_dump(content), encoding="utf-8")
    weights = model / _WEIGHTS[kind]
    whole = weights.read_bytes()
    for share in shares:
        weights.write_bytes(whole[: len(whole) * share // 100])
        out = folder / f"out-{kind}-{share}"
        code, said = ran(folder, ("certify", str(playbook), "--no-register", "--out", str(out)))
        case = f"{kind} at {share} %"
        campaign.count(f"{kind}: cut models certified")
        _check_end(campaign, code, said, case)
        campaign.check("a cut model is BLOCKED", holds=code == 1 and "BLOCKED" in said, case=case)
        shutil.rmtree(out, ignore_errors=True)


def _check_end(campaign: Campaign, code: int | None, said: str, case: str) -> None:
    good = code in {0, 1, 2, 3} and "Traceback" not in said and bool(said.strip())
    campaign.check("ended with a code and a message of ours", holds=good, case=case)


def ran(folder: Path, command: Sequence[str]) -> tuple[int | None, str]:
    """Run a command in a folder; no code when anything but our own errors came out of it."""
    told = StringIO()
    with redirect_stdout(told), redirect_stderr(told), chdir(folder):
        try:
            code: int | None = run(command)
        except Exception as error:  # noqa: BLE001 - any at all is what is looked for
            told.write(f"Traceback: {error!r}")
            code = None
    return code, told.getvalue()


def main() -> int:
    """Run the campaign."""
    options = parser(__doc__ or "")
    options.add_argument("--step", type=int, default=1, help="percent from cut to cut")
    told = options.parse_args()
    shares = range(0, 100, told.step)

    def work(campaign: Campaign) -> None:
        with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
            folder = Path(scratch) / "whole"
            folder.mkdir()
            made(folder)
            for artifact in artifacts():
                cut_artifact(campaign, folder, artifact, shares)
            cut_journal(campaign, folder, shares)
            for kind in _WEIGHTS:
                cut_model(campaign, Path(scratch), kind, shares)

    return run_campaign("truncating", work, write=told.write)


if __name__ == "__main__":
    sys.exit(main())
