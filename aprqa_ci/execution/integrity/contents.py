"""The gates that look at the tensors themselves: is each there, and is each finite."""

from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.llama import expected_tensors, hf_name, optional_tensors
from aprqa_ci.execution.formats.weights import FormatError, TensorInfo, UnsupportedFormatError
from aprqa_ci.execution.integrity.finding import NotJudgedError, Observation, counted, listed
from aprqa_ci.execution.integrity.finite import count_non_finite, is_zero
from aprqa_ci.execution.integrity.subject import Subject
from aprqa_ci.execution.weight_files import INDEX_NAME

__all__ = ["judge_finite", "judge_tensors"]


def judge_tensors(subject: Subject) -> Observation:
    """Compare the names and shapes with those that the architecture needs."""
    found = subject.survey.tensors
    problems = _index_problems(subject) if not subject.is_gguf else _split_problems(subject)
    try:
        config = subject.family
    except UnsupportedFormatError as error:
        if problems:
            return Observation(problems=tuple(problems), shown="")
        msg = f"which tensors it needs is not known here ({error})"
        raise NotJudgedError(msg) from error
    needed, optional = expected_tensors(config), optional_tensors(config)
    present: dict[str, TensorInfo] = {}
    unknown: list[str] = []
    for name, tensor in subject.weights.tensors.items():
        common = hf_name(name) if subject.is_gguf else name
        if common is None or (common not in needed and common not in optional):
            unknown.append(name)
        else:
            present[common] = tensor
    if missing := [name for name in needed if name not in present]:
        problems.append(f"missing {counted(len(missing), 'tensor')}: {listed(missing)}")
    if unknown:
        problems.append(
            f"{counted(len(unknown), 'tensor')} foreign to this architecture: {listed(unknown)}"
        )
    every = {**optional, **needed}
    wrong = [
        f"{tensor.name} is {_shape(tensor.shape)}, not {_shape(every[name])}"
        for name, tensor in present.items()
        if tensor.shape != every[name]
    ]
    if wrong:
        problems.append(f"{counted(len(wrong), 'tensor')} of another shape: {listed(wrong)}")
    return Observation(
        problems=tuple(problems),
        shown=f"all {len(needed)} tensors that {config.architecture} needs are there, "
        f"and {found - len(needed)} that it may have",
    )


def judge_finite(subject: Subject) -> Observation:
    """Scan every tensor for NaN and infinity, and every matrix for a number that is not zero."""
    total = subject.survey.tensors
    problems: list[str] = []
    zeros: list[str] = []
    unread: list[str] = []
    try:
        for tensor in subject.weights.tensors.values():
            try:
                if count := count_non_finite(tensor):
                    problems.append(f"{tensor.name} ({tensor.dtype}) has {count}")
                elif _is_matrix(tensor) and is_zero(tensor):
                    zeros.append(f"{tensor.name} ({tensor.dtype})")
            except UnsupportedFormatError:
                unread.append(f"{tensor.name} ({tensor.dtype})")
    except OSError as error:
        msg = f"the weights cannot be read: {error.strerror or error}"
        raise NotJudgedError(msg) from error
    if problems or zeros:
        found = []
        if problems:
            held = f"{counted(len(problems), 'tensor')} of {total} with NaN or infinity"
            found.append(f"{held}: {listed(problems)}")
        if zeros:
            held = f"{counted(len(zeros), 'tensor')} of {total} with nothing but zeros"
            found.append(f"{held}: {listed(zeros)}")
        return Observation(problems=tuple(found), shown="", details="\n".join([*problems, *zeros]))
    if unread:
        msg = f"{counted(len(unread), 'tensor')} of a type that is not read here: {listed(unread)}"
        raise NotJudgedError(msg)
    return Observation(
        shown=f"no NaN and no infinity in {total} tensors, and no matrix of zeros alone"
    )


def _is_matrix(tensor: TensorInfo) -> bool:
    """A bias or the offset of a norm may well be zero; a matrix of zeros computes nothing."""
    return sum(size > 1 for size in tensor.shape) >= 2


def _index_problems(subject: Subject) -> list[str]:
    """Compare the index of a sharded model with what the shards hold."""
    index = subject.files.weights[0].parent / INDEX_NAME
    if len(subject.files.weights) == 1 or not index.is_file():
        return []
    named = read_json_object(index).get("weight_map")
    if not isinstance(named, dict):
        raise FormatError(index, "has no weight_map")
    tensors = subject.weights.tensors
    problems = []
    if lost := [name for name in named if name not in tensors]:
        problems.append(f"{index.name} names {listed(lost)}, which no shard holds")
    if unnamed := [name for name in tensors if name not in named]:
        problems.append(f"{index.name} does not name {listed(unnamed)}")
    return problems


def _split_problems(subject: Subject) -> list[str]:
    """Compare the parts of a split GGUF file with the count in its first part."""
    count = subject.weights.metadata.get("split.tensors.count")
    found = len(subject.weights.tensors)
    if count is None or count == found:
        return []
    return [f"split.tensors.count is {count}, and the parts hold {found} tensors"]


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"
