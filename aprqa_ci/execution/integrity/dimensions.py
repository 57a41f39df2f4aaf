"""The gates that compare the claimed dimensions with the shapes of the tensors."""

from aprqa_ci.execution.formats.weights import FormatError, TensorInfo, UnsupportedFormatError
from aprqa_ci.execution.integrity.finding import NotJudgedError, Observation, listed
from aprqa_ci.execution.integrity.subject import Subject

__all__ = ["judge_config", "judge_heads", "judge_hidden", "judge_layers", "judge_vocabulary"]

_NEEDED = ("num_layers", "hidden_dim", "num_heads", "vocab_size")


def judge_config(subject: Subject) -> Observation:
    """Look whether the configuration can be read and names every dimension."""
    claims = subject.claims
    missing = [dimension for dimension in _NEEDED if claims.get(dimension) is None]
    problems = [*claims.problems, *subject.declared("intermediate_dim")]
    try:
        # The family's own reading needs more: the feed-forward width, the norm, the context.
        known: str = subject.family.architecture
    except UnsupportedFormatError as error:
        known = "read by the common names of the field"
        if missing and claims.architecture is None:
            problems.append(f"{claims.source} does not name {listed(missing)}")
        elif missing and not problems:
            msg = f"{listed(missing)} may have other names in {claims.source} ({error})"
            raise NotJudgedError(msg) from error
    except FormatError as error:
        known = "damaged"
        problems.append(str(error))
    named = ", ".join(f"{name} {value}" for name, value in sorted(claims.dimensions.items()))
    return Observation(
        problems=tuple(problems),
        shown=f"{claims.source} names {named}",
        details=f"architecture {claims.architecture}: {known}",
    )


def judge_layers(subject: Subject) -> Observation:
    """Compare the count of layers."""
    claimed = subject.claimed("num_layers")
    layers = subject.survey.layers
    if not layers:
        _refuse_to_guess(subject, "no tensor has the name of a decoder layer")
    most = claimed + subject.claims.extra_layers
    problems = subject.declared("num_layers")
    if missing := sorted(set(range(min(claimed, _bound(layers)))) - layers):
        problems.append(f"layers {listed(missing)} are missing")
    if claimed > _bound(layers):
        problems.append(
            f"{subject.claims.source} says {claimed} layers, the tensors end with {_bound(layers)}"
        )
    if extra := sorted(layer for layer in layers if layer >= most):
        problems.append(
            f"{subject.claims.source} says {claimed} layers, "
            f"the tensors have layers {listed(extra)} as well"
        )
    return Observation(
        problems=tuple(problems), shown=f"{claimed} layers in {subject.claims.source} and tensors"
    )


def judge_hidden(subject: Subject) -> Observation:
    """Compare the hidden size with the embedding, the norms and the inputs of attention."""
    claimed = subject.claimed("hidden_dim")
    survey = subject.survey
    seen: dict[str, int] = {}
    for tensor in (survey.embedding, survey.output):
        if tensor is not None and len(tensor.shape) == 2:
            seen[tensor.name] = tensor.shape[1]
    if subject.claims.separate_embedding_size:
        seen.clear()
    seen |= {tensor.name: tensor.shape[0] for tensor in survey.input_norms if tensor.shape}
    for role in ("query", "key", "value", "fused"):
        for tensor in survey.projections.get(role, ()):
            if len(tensor.shape) == 2:
                seen[tensor.name] = tensor.shape[1]
    if not seen:
        _refuse_to_guess(subject, "no tensor is known to be as wide as the hidden state")
    return Observation(
        problems=(
            *subject.declared("hidden_dim"),
            *_differing(seen, claimed, "hidden_dim", subject),
        ),
        shown=f"hidden_dim {claimed} in {subject.claims.source} and in {len(seen)} tensors",
    )


def judge_heads(subject: Subject) -> Observation:
    """Compare the rows of queries, keys and values with heads × head_dim."""
    if subject.claims.other_geometry:
        msg = f"attention has a geometry of its own ({subject.claims.other_geometry})"
        raise NotJudgedError(msg)
    heads, kv_heads = subject.claimed("num_heads"), subject.claimed("num_kv_heads")
    head_dim = subject.claimed("head_dim")
    queries, keys = heads * head_dim, kv_heads * head_dim
    problems = subject.declared("num_heads", "num_kv_heads")
    if heads % kv_heads:
        problems.append(f"{heads} heads cannot share {kv_heads} KV heads")
    seen = 0
    for role, axis, size, rule in (
        ("query", 0, queries, f"{heads} heads × {head_dim}"),
        ("key", 0, keys, f"{kv_heads} KV heads × {head_dim}"),
        ("value", 0, keys, f"{kv_heads} KV heads × {head_dim}"),
        ("output", 1, queries, f"{heads} heads × {head_dim}"),
        ("fused", 0, queries + 2 * keys, f"({heads} + 2 × {kv_heads} heads) × {head_dim}"),
    ):
        matrices = [
            tensor for tensor in subject.survey.projections.get(role, ()) if len(tensor.shape) == 2
        ]
        seen += len(matrices)
        wrong = [tensor for tensor in matrices if tensor.shape[axis] != size]
        if wrong:
            problems.append(f"{_shapes(wrong)}, and {rule} gives {size}")
    if not seen:
        _refuse_to_guess(subject, "no tensor has the name of an attention projection")
    return Observation(
        problems=tuple(problems),
        shown=f"{heads} heads, {kv_heads} KV heads of {head_dim} fit {seen} projections",
    )


def judge_vocabulary(subject: Subject) -> Observation:
    """Compare the rows of the embedding and the output with the vocabulary and the tokenizer."""
    claims, survey = subject.claims, subject.survey
    problems = subject.declared("vocab_size")
    if survey.embedding is None:
        _refuse_to_guess(subject, "no tensor has the name of an embedding")
    shown = []
    rows: set[int] = set()
    for tensor in (survey.embedding, survey.output):
        if tensor is not None and tensor.shape:
            rows.add(tensor.shape[0])
            shown.append(f"{tensor.name} has {tensor.shape[0]} rows")
    claimed = claims.get("vocab_size")
    if len(rows) > 1:
        problems.append(f"{' and '.join(shown)}: not the same vocabulary")
    elif claimed is not None and rows != {claimed} and not _only_tokens(subject):
        problems.append(f"{claims.source} says vocab_size {claimed}, and {shown[0]}")
    try:
        tokens = subject.token_list
    except UnsupportedFormatError as error:
        shown.append(f"the tokenizer was not compared ({error})")
    except FormatError:
        # G0-TOKENIZER-001 says so; a vocabulary without a tokenizer may still have its size.
        shown.append("the tokenizer could not be compared")
    else:
        shown.append(f"{tokens.source} needs {tokens.rows_needed}")
        if tokens.rows_needed > min(rows):
            problems.append(
                f"{tokens.source} needs {tokens.rows_needed} rows, "
                f"and the embedding has {min(rows)}"
            )
    said = "no vocab_size is claimed" if claimed is None else f"vocab_size {claimed}"
    return Observation(problems=tuple(problems), shown=f"{said}: {'; '.join(shown)}")


def _only_tokens(subject: Subject) -> bool:
    """Whether the vocabulary size is but the count of the tokens, which may be fewer than rows."""
    metadata = subject.weights.metadata
    return subject.is_gguf and f"{metadata.get('general.architecture')}.vocab_size" not in metadata


def _known(subject: Subject) -> bool:
    try:
        return bool(subject.family.architecture)
    except UnsupportedFormatError:
        return False
    except FormatError:
        return True


def _refuse_to_guess(subject: Subject, what: str) -> None:
    """End the judgement: the tensors lack what they need, or have names that are not known here.

    Raises:
        FormatError: the architecture is known, so the tensor should be there.
        NotJudgedError: it is not.
    """
    if _known(subject):
        raise FormatError(subject.files.weights[0], what)
    msg = f"{what} that is known here (architecture {subject.claims.architecture})"
    raise NotJudgedError(msg)


def _differing(seen: dict[str, int], claimed: int, what: str, subject: Subject) -> list[str]:
    wrong = [f"{name} has {size}" for name, size in seen.items() if size != claimed]
    if not wrong:
        return []
    return [f"{subject.claims.source} says {what} {claimed}, and {listed(wrong)}"]


def _shapes(tensors: list[TensorInfo]) -> str:
    return listed(
        f"{tensor.name} has the shape {'×'.join(map(str, tensor.shape))}" for tensor in tensors
    )


def _bound(layers: frozenset[int]) -> int:
    return max(layers) + 1
