"""The gate that compares the metadata of a GGUF file with the model it was made from."""

import math
import re
from collections.abc import Mapping

from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.integrity.claims import DIMENSIONS, Claims
from aprqa_ci.execution.integrity.finding import NotJudgedError, Observation, counted, listed
from aprqa_ci.execution.integrity.special_tokens import named_special_tokens
from aprqa_ci.execution.integrity.subject import Subject
from aprqa_ci.execution.integrity.token_list import TokenList
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["judge_metadata"]

_DEFAULT_ROPE_THETA = 10000.0
# The metadata hold 32-bit numbers.
_RELATIVE_ERROR = 1e-6
_FILLED_UP = re.compile(r"\[PAD\d+\]|<unused\d+>|<\|unused\d+\|>")
_REQUIRED = frozenset({"num_layers", "hidden_dim", "num_heads", "intermediate_dim"})


def judge_metadata(subject: Subject) -> Observation:
    """Compare dimensions, rotary base, norm, special tokens and the list of tokens."""
    if subject.ground_truth is None or subject.ground_truth.format is not ModelFormat.SAFETENSORS:
        msg = "there is no SafeTensors ground truth to compare with"
        raise NotJudgedError(msg)
    ours = subject.claims
    truth = Subject(subject.ground_truth)
    try:
        theirs = truth.claims
    except FormatError as error:
        # The ground truth has gates of its own; its damage is no fault of this file.
        msg = f"the ground truth cannot be read ({error})"
        raise NotJudgedError(msg) from error
    problems = [
        *_dimension_problems(subject, ours, theirs),
        *_number_problems(ours, theirs),
        *_scaling_problems(subject, truth),
    ]
    found = subject.token_list
    try:
        tokens = truth.token_list
        special = named_special_tokens(truth)
    except FormatError as error:
        if problems:
            return Observation(problems=tuple(problems), shown="")
        msg = f"the dimensions agree, and the ground truth's tokens cannot be read ({error})"
        raise NotJudgedError(msg) from error
    problems += [*_special_problems(ours, special), *_token_problems(found, tokens)]
    return Observation(
        problems=tuple(problems),
        shown=f"the metadata agree with the ground truth's config.json on {len(theirs.dimensions)} "
        f"dimensions, and with its {tokens.source} on {len(tokens.tokens)} tokens",
    )


def _dimension_problems(subject: Subject, ours: Claims, theirs: Claims) -> list[str]:
    problems = []
    for dimension in DIMENSIONS:
        wanted = theirs.get(dimension)
        found = _rows(subject) if dimension == "vocab_size" else ours.get(dimension)
        if wanted is None or found == wanted:
            continue
        if found is not None:
            problems.append(f"{dimension} is {found}, and {wanted} in the ground truth")
        elif dimension in _REQUIRED and not ours.other_geometry:
            problems.append(f"{dimension} is missing, and {wanted} in the ground truth")
    return problems


def _rows(subject: Subject) -> int | None:
    """Return the vocabulary of the GGUF file: what it says, or else the rows of its embedding."""
    metadata = subject.weights.metadata
    said = metadata.get(f"{metadata.get('general.architecture')}.vocab_size")
    if isinstance(said, int):
        return said
    embedding = subject.survey.embedding
    return embedding.shape[0] if embedding and embedding.shape else None


def _number_problems(ours: Claims, theirs: Claims) -> list[str]:
    pairs = (
        (
            "rope_theta",
            ours.rope_theta or _DEFAULT_ROPE_THETA,
            theirs.rope_theta or (_DEFAULT_ROPE_THETA if ours.rope_theta else None),
        ),
        ("the norm's epsilon", ours.norm_eps, theirs.norm_eps),
    )
    problems = []
    for name, found, wanted in pairs:
        if wanted is None:
            continue
        if found is None:
            problems.append(f"{name} is missing, and {wanted:g} in the ground truth")
        elif not math.isclose(found, wanted, rel_tol=_RELATIVE_ERROR):
            problems.append(f"{name} is {found:g}, and {wanted:g} in the ground truth")
    return problems


def _scaling_problems(subject: Subject, truth: Subject) -> list[str]:
    """Compare whether the rotary frequencies are scaled; how is spelled in different ways."""
    try:
        ours, theirs = subject.family.rope_scaling, truth.family.rope_scaling
    except FormatError:
        # Of another family, or G0-INTEGRITY-CONFIG says what is wrong.
        return []
    if (ours is None) == (theirs is None):
        return []
    which = "the ground truth" if ours is None else "the GGUF file"
    return [f"only {which} scales the rotary frequencies"]


def _special_problems(ours: Claims, wanted: Mapping[str, frozenset[int]]) -> list[str]:
    problems = []
    for name, ids in wanted.items():
        found = ours.special_tokens.get(name, frozenset())
        if not ids:
            continue
        said = " or ".join(str(index) for index in sorted(ids))
        if not found and name == "eos":
            problems.append(f"the eos token is missing, and {said} in the ground truth")
        elif not found <= ids:
            problems.append(
                f"the {name} token is {listed(sorted(found))}, and {said} in the ground truth"
            )
    return problems


def _token_problems(ours: TokenList, theirs: TokenList) -> list[str]:
    problems = []
    other = [
        f"{index} is {ours.tokens.get(index)!r}, not {text!r}"
        for index, text in theirs.tokens.items()
        if not _same(ours.tokens.get(index), text)
    ]
    if other:
        problems.append(f"{counted(len(other), 'token')} of another text: {listed(other)}")
    extra = [
        text
        for index, text in ours.tokens.items()
        if index not in theirs.tokens
        and index not in ours.padding
        and not _FILLED_UP.fullmatch(text)
    ]
    if extra:
        problems.append(f"{counted(len(extra), 'token')} not in the ground truth: {listed(extra)}")
    # Converters mark more as control than the ground truth does, and none less.
    plain = [
        text
        for index, text in theirs.tokens.items()
        if theirs.added.get(index) and ours.added and index not in ours.added
    ]
    if plain:
        problems.append(f"{counted(len(plain), 'special token')} marked as text: {listed(plain)}")
    if ours.merges is not None and theirs.merges is not None and ours.merges != theirs.merges:
        problems.append(_merge_problem(ours.merges, theirs.merges))
    return problems


def _same(ours: str | None, theirs: str) -> bool:
    # Converters write the blank of sentencepiece's added tokens out.
    return ours is not None and (
        ours == theirs or ours.replace("▁", " ") == theirs.replace("▁", " ")
    )


def _merge_problem(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    if len(ours) != len(theirs):
        return f"there are {len(ours)} merges, and {len(theirs)} in the ground truth"
    rank = next(rank for rank, pair in enumerate(ours) if pair != theirs[rank])
    return f"merge {rank} is {ours[rank]!r}, and {theirs[rank]!r} in the ground truth"
