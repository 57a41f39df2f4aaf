"""The first link: whether model files are those that a certificate names."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.execution.derived_files import source_digest
from aprqa_ci.files import sha256_file
from aprqa_ci.planning.identifiers import as_sources, derived_name, sources_in, variant_name
from aprqa_ci.vocabulary import Outcome

__all__ = ["check_models", "check_named"]

_MOST_FILES = 100_000
_DIGEST_GATE = "G0-DIGEST-001"
_DIGEST_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>.+)")
_CUT_AT = 2000
"""Where the inspection cuts what it lists."""


def check_models(named: Mapping[str, Mapping[str, str]], root: Path) -> Iterator[Problem]:
    """Yield what is not there, or is another file.

    What was made of other files can be made again, so it need not be there; its source must be.
    Variants may have files of one name, so of several of that name one must be the right one.

    Args:
        named: SHA-256 by file name, by variant, as the certificate has it.
        root: where the files are, at any depth.

    Raises:
        InputError: the directory or a file cannot be read.
    """
    there = _by_name(root)
    digests: dict[Path, str] = {}
    made = {
        digest
        for listed in named.values()
        if (sources := sources_in(listed))
        for name, digest in listed.items()
        if name not in as_sources(sources)
    }
    for variant, listed in named.items():
        for name, digest in (sources_in(listed) or listed).items():
            own = [path for path in there[Path(name).name] if path.as_posix().endswith(f"/{name}")]
            for path in own:
                if path not in digests:
                    digests[path] = _digest(path)
            if not own and digest in made:
                continue
            if not own:
                yield Problem(what=f"{variant}: {name} is not there", path=root)
            elif all(digests[path] != digest for path in own):
                what = f"{variant}: the file is not the one that was tested (SHA-256 {digest[:12]}…"
                yield Problem(what=f"{what}, this one {digests[own[0]][:12]}…)", path=own[0])


def _by_name(root: Path) -> defaultdict[str, list[Path]]:
    found: defaultdict[str, list[Path]] = defaultdict(list)
    try:
        paths = list(islice(root.rglob("*"), _MOST_FILES + 1))
    except OSError as error:
        what = f"cannot be listed: {error.strerror or error}"
        raise InputError(Problem(what=what, path=root)) from error
    if len(paths) > _MOST_FILES:
        what = f"more than {_MOST_FILES} files lie here"
        raise InputError(Problem(what=what, path=root, hint="name the folder of the one model"))
    for path in sorted(paths):
        if path.is_file():
            found[path.name].append(path)
    return found


def _digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        what = f"cannot read the file: {error.strerror or error}"
        raise InputError(Problem(what=what, path=path)) from error


def check_named(
    named: Mapping[str, Mapping[str, str]], records: Sequence[EvidenceRecord]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Hold the digests that a certificate names against those that the evidence recorded. Pure.

    Of files that were made, the evidence names one digest for all that they were made from.

    Args:
        named: SHA-256 by file name, by variant.
        records: of the run that was scored.

    Returns:
        What contradicts them, and the variants whose digests the evidence does not hold.
    """
    recorded: defaultdict[str, list[_Listing]] = defaultdict(list)
    for record in records:
        if record.gate_id == _DIGEST_GATE and record.outcome is not Outcome.SKIPPED:
            variant = variant_name(record.scenario.format, record.meta(MetadataKey.QUANTIZATION))
            listing = _listing(record.output)
            if listing.files:
                recorded[variant].append(listing)
    wrong = [
        f"{variant}: {name} is not the file that the evidence says was read"
        for variant, listings in recorded.items()
        for name in sorted(
            {name for each in listings for name in _wrong(named.get(variant, {}), each)}
        )
    ]
    wrong += _other_sources(named, records)
    return tuple(wrong), tuple(sorted(variant for variant in named if variant not in recorded))


def _other_sources(
    named: Mapping[str, Mapping[str, str]], records: Sequence[EvidenceRecord]
) -> list[str]:
    told = {
        derived_name(variant, source): record.meta(MetadataKey.DERIVED_DIGEST)
        for record in records
        if (source := record.meta(MetadataKey.DERIVED_FROM)) is not None
        for variant in [variant_name(record.scenario.format, record.meta(MetadataKey.QUANTIZATION))]
    }
    return [
        f"{name}: the source is not the one that the evidence names"
        for name, digest in sorted(told.items())
        if source_digest(sources_in(named.get(name, {}))) != digest
    ]


@dataclass(frozen=True, kw_only=True)
class _Listing:
    files: Mapping[str, str]
    whole: bool
    """Whether it is not cut off, so that what is not in it was not read."""


def _listing(text: str) -> _Listing:
    lines = text.split("\n")
    whole = len(text) < _CUT_AT
    found = [_DIGEST_LINE.fullmatch(line) for line in (lines if whole else lines[:-1])]
    return _Listing(files={each["name"]: each["digest"] for each in found if each}, whole=whole)


def _wrong(named: Mapping[str, str], listing: _Listing) -> Iterator[str]:
    for name, digest in listing.files.items():
        # A name that could not be printed is recorded otherwise than it is.
        if named.get(name) != digest and "\N{REPLACEMENT CHARACTER}" not in name:
            yield name
    if listing.whole and all(name.isprintable() for name in named):
        yield from named.keys() - listing.files.keys()
