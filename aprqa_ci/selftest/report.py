"""The study as Markdown: ``docs/falsification.md``."""

from collections import Counter
from collections.abc import Iterable, Sequence

from aprqa_ci import markdown as md
from aprqa_ci.selftest.falsification import Falsification, JudgedMutant
from aprqa_ci.selftest.mutants import MutantClass
from aprqa_ci.wire import canonical_json

__all__ = ["falsification_markdown"]

_ABOUT = (
    "`aprqa selftest` breaks a sound model in many ways that real models break, runs the whole "
    "pipeline on each, and says what caught it. This page is made by that command; the same "
    "figures are in `falsification.json`, and `docs/design/selftest.md` says how it is done."
)
_MOST_REASON = 220
_MOST_CAUGHT = 4
_MOST_LINES = 60


def falsification_markdown(study: Falsification) -> str:
    """Return the study as a document."""
    machine = study.machine
    engines = ", ".join(f"{name} {version}" for name, version in machine.engines.items())
    where = f"{machine.system}, {machine.processors} processors"
    blocks = [
        md.heading(1, "Falsification power"),
        _ABOUT,
        md.bullets(
            [
                f"Model: {study.model}",
                f"Tool: aprqa-ci {study.tool_version}, policy {study.policy}",
                f"Date: {study.date}, {study.seconds:.0f} s",
                f"Machine: {where}, Python {machine.python}, {engines}",
            ]
        ),
        md.heading(2, "What the words mean"),
        md.bullets(
            [
                "killed: not certified, and caught by one of the gates that were expected to",
                "equivalent: certified, and shown to compute what the sound model computes",
                "survived: everything else, also when another gate than expected caught it",
                "held out: values that no gate, suite or limit was improved with",
            ]
        ),
        md.heading(2, "By class"),
        _by_class(study),
        md.heading(2, "False alarms"),
        *_false_alarms(study),
        md.heading(2, "Survivors"),
        _reasons(study.of("survived"), "None."),
        md.heading(2, "Equivalent mutants"),
        _reasons(study.of("equivalent"), "None."),
        md.heading(2, "Mutants"),
        *_mutants(study),
    ]
    if study.not_applicable:
        blocks += [
            md.heading(2, "Not applicable to this model"),
            md.bullets(
                md.join(": ", [md.code_span(each.id), each.reason]) for each in study.not_applicable
            ),
        ]
    return "\n\n".join(blocks) + "\n"


def _by_class(study: Falsification) -> str:
    rows: list[Sequence[md.Cell]] = []
    for name in MutantClass:
        own = [each for each in study.mutants if each.class_ is name]
        if own:
            rows.append([name, *_counts(own)])
    rows.append([md.bold("all"), *_counts(study.mutants)])
    head = ("class", "values", "killed", "equivalent", "survived", "held out", "of these killed")
    return md.table(head, rows, align="lrrrrrr")


def _counts(mutants: Iterable[JudgedMutant]) -> list[int]:
    every = list(mutants)
    found = Counter(each.verdict for each in every)
    held = [each for each in every if each.held_out]
    return [
        len(every),
        found["killed"],
        found["equivalent"],
        found["survived"],
        len(held),
        sum(each.verdict == "killed" for each in held),
    ]


def _false_alarms(study: Falsification) -> list[str]:
    runs = study.healthy_runs
    workers = ", ".join(str(each) for each in runs.workers)
    threads = ", ".join(str(each) for each in runs.threads)
    blocks = [
        str(
            md.escape_text(
                f"The sound model was run {runs.runs} times with {runs.seeds} seeds, {workers} "
                f"workers, {threads} threads an engine and {len(runs.plans)} plans; "
                f"{runs.certified} runs were certified. Of {runs.scenarios} scenarios "
                f"{len(runs.non_green)} were not Corroborated."
            )
        )
    ]
    if study.false_alarms:
        rows = [[each.run, each.status, each.mqs, each.reason] for each in study.false_alarms]
        blocks.append(md.table(("run", "status", "MQS", "why"), rows, limit=_MOST_REASON))
    if runs.non_green:
        blocks.append("Scenarios of sound runs that were not Corroborated:")
        shown = runs.non_green[:_MOST_LINES]
        more = len(runs.non_green) - len(shown)
        blocks.append(md.bullets([*shown, *([f"and {more} more"] if more else [])]))
    return blocks


def _reasons(mutants: Sequence[JudgedMutant], nothing: str) -> str:
    if not mutants:
        return nothing
    rows = [[md.code_span(each.id), each.meaning, _values(each), each.reason] for each in mutants]
    return md.table(("mutant", "what happened", "value", "why"), rows, limit=_MOST_REASON)


def _mutants(study: Falsification) -> list[str]:
    blocks = []
    for name in MutantClass:
        own = [each for each in study.mutants if each.class_ is name]
        if not own:
            continue
        rows = [
            [
                md.join(" ", [md.code_span(each.id), *(["(held out)"] * each.held_out)]),
                each.meaning,
                ", ".join(each.expected),
                _caught(each),
                each.status,
                each.verdict,
            ]
            for each in own
        ]
        head = ("mutant", "what happened", "expected", "caught by", "status", "verdict")
        blocks += [md.heading(3, name), md.table(head, rows)]
    return blocks


def _caught(mutant: JudgedMutant) -> str:
    shown = mutant.caught_by[:_MOST_CAUGHT]
    more = len(mutant.caught_by) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _values(mutant: JudgedMutant) -> str:
    return canonical_json(mutant.parameters).decode()
