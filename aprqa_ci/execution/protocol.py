"""The language between a cell's parent and its child process: one JSON object a line.

The parent asks, the child answers each request with one reply. The child holds the engine and the
model; everything that may hang, crash or eat memory happens there. Both ends are of one version:
the parent starts the child from its own installation. So the messages carry none.
"""

import os
from pathlib import Path
from typing import Any, Literal

import msgspec

from aprqa_ci.execution.engines.interface import OptionValue, Sampling
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.planning.comparisons import Comparisons
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat
from aprqa_ci.wire import WireModel

__all__ = [
    "MAX_ANSWER_CHARACTERS",
    "Absent",
    "Answered",
    "Ask",
    "AskClients",
    "Broken",
    "CheckHealth",
    "ClientsAnswered",
    "CompareWeights",
    "Derive",
    "Derived",
    "EngineFailed",
    "FilesJudged",
    "Health",
    "Inspect",
    "Inspected",
    "InspectedGate",
    "JudgeFiles",
    "JudgedFile",
    "LoadFailed",
    "MalformedSent",
    "NotOffered",
    "Open",
    "Opened",
    "OutOfMemory",
    "ProfileModel",
    "Profiled",
    "Refused",
    "Reply",
    "Request",
    "SendMalformed",
    "WeightsCompared",
]

MAX_ANSWER_CHARACTERS = 1 << 18
"""The longest answer that is handed on; what is longer is cut, and its finish says ``length``."""


class _Request(WireModel, frozen=True, kw_only=True, tag_field="do"):
    """Base of the requests."""


class _Reply(WireModel, frozen=True, kw_only=True, tag_field="is"):
    """Base of the replies."""


class Inspect(_Request, frozen=True, kw_only=True, tag="inspect"):
    """Read the model's files and judge the G0 gates."""

    model: ModelFiles
    ground_truth: ModelFiles | None
    expected: dict[str, int]
    apr: dict[str, OptionValue] = msgspec.field(default_factory=dict)
    """What the tool that looks into APR files is told."""


class CompareWeights(_Request, frozen=True, kw_only=True, tag="compare-weights"):
    """Convert the weights forth and back, and compare them with the ground truth's."""

    model: ModelFiles
    ground_truth: ModelFiles | None
    scratch: Path
    apr: dict[str, OptionValue] = msgspec.field(default_factory=dict)
    """What the converter of APR files is told."""


class JudgeFiles(_Request, frozen=True, kw_only=True, tag="judge-files"):
    """Judge the gates that files alone speak for."""

    gates: tuple[str, ...]
    model: ModelFiles
    ground_truth: ModelFiles | None
    settings: Comparisons
    limit: float
    """The most relative error of a tensor that the quantization allows."""
    root: Path
    """What the path of a reference file starts from."""
    apr: dict[str, OptionValue] = msgspec.field(default_factory=dict)
    """What the tool that looks into APR files is told."""


class Derive(_Request, frozen=True, kw_only=True, tag="derive"):
    """Convert the model's files to another format, unless that was done before."""

    model: ModelFiles
    cache: Path
    format: ModelFormat | None = None
    """What is made; without one, the format that the files are compared in."""
    quantization: str | None = None
    """What SafeTensors are written as; without one, in their own precision."""
    apr: dict[str, OptionValue] = msgspec.field(default_factory=dict)
    """What the converter of APR files is told."""


class ProfileModel(_Request, frozen=True, kw_only=True, tag="profile-model"):
    """Let an engine measure its own speed."""

    engine: str
    options: dict[str, OptionValue]
    model: ModelFiles
    warmup: int
    """Runs that are not counted."""
    measure: int
    """Runs that are."""


class Open(_Request, frozen=True, kw_only=True, tag="open"):
    """Load the model and be ready for questions."""

    engine: str
    model: ModelFiles
    backend: Backend
    modality: Modality
    options: dict[str, OptionValue] = msgspec.field(default_factory=dict)
    """The options of the engine."""


class Ask(_Request, frozen=True, kw_only=True, tag="ask"):
    """Answer one question, a conversation turn by turn."""

    turns: tuple[str, ...]
    system: str | None
    raw: bool
    sampling: Sampling
    number: int
    """Asked of a server, even questions are answered as a whole and odd ones as a stream."""
    watched: bool = False
    """Whether the pieces of the answer are reported, of a session that is asked directly."""


class AskClients(_Request, frozen=True, kw_only=True, tag="ask-clients"):
    """Let several clients ask at once."""

    questions: tuple[str, ...]
    sampling: Sampling


class SendMalformed(_Request, frozen=True, kw_only=True, tag="send-malformed"):
    """Send malformed requests and see whether the server lives."""


class CheckHealth(_Request, frozen=True, kw_only=True, tag="check-health"):
    """Ask the server whether it is well."""


class InspectedGate(WireModel, frozen=True, kw_only=True):
    """What the files say to one gate."""

    gate_id: str
    state: str
    """``corroborated``, ``falsified`` or ``skipped``."""
    reason: str
    details: str = ""


class Inspected(_Reply, frozen=True, kw_only=True, tag="inspected"):
    """The G0 findings and the digests of the files."""

    findings: tuple[InspectedGate, ...]
    digests: dict[str, str]


class WeightsCompared(_Reply, frozen=True, kw_only=True, tag="weights-compared"):
    """How far the weights are from the ground truth's."""

    tensors: int
    """How many tensors were compared."""
    worst_tensor: str
    worst_error: float | None
    """The largest relative root-mean-square error of a tensor; absent when it is infinite, for
    which JSON has no number."""
    exact: bool
    """Whether forth and back gave every value again."""
    reason: str = ""
    """Why nothing could be compared."""
    requantized: int = 0
    """How many tensors were held against a new quantization of the ground truth's."""
    worst_requantized: str = ""
    worst_ratio: float | None = None
    """The largest error of a tensor over that of the new quantization."""
    typical_ratio: float | None = None
    """The median of these."""


class JudgedFile(WireModel, frozen=True, kw_only=True):
    """What the files say to one gate."""

    gate_id: str
    state: Literal["corroborated", "falsified", "skipped"]
    reason: str
    figures: dict[str, Any]
    cause: str = ""
    """Of a skip: whose doing it is, and a word."""


class FilesJudged(_Reply, frozen=True, kw_only=True, tag="files-judged"):
    """The findings of all gates that were asked for."""

    findings: tuple[JudgedFile, ...]


class Derived(_Reply, frozen=True, kw_only=True, tag="derived"):
    """The converted files."""

    files: ModelFiles
    precision: str
    digests: dict[str, str]
    """SHA-256 of each file that was made, by name."""
    source: dict[str, str]
    """SHA-256 of each file that it was made from, by name."""


class Profiled(_Reply, frozen=True, kw_only=True, tag="profiled"):
    """What an engine measured of itself."""

    tool: str
    """Its name with its version."""
    invocation: str
    """The call that was made."""
    tokens_per_second: float
    """Above zero."""
    p50_ms: float | None = None
    """The median latency, in milliseconds, where it gives one."""
    p99_ms: float | None = None
    """The 99th percentile of it."""


class Opened(_Reply, frozen=True, kw_only=True, tag="opened"):
    """The model is loaded."""

    engine: str
    version: str
    device: str
    device_proven: bool = True
    """Whether the device is shown to be the cell's backend."""
    files_opened: bool = True
    """Whether the engine opened the files that it was given, rather than asked somebody else."""
    invocation: str
    context_length: int
    load_ms: float
    memory_mb: int


class Answered(_Reply, frozen=True, kw_only=True, tag="answered"):
    """An answer with what was measured."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: str
    pieces: tuple[str, ...] = ()
    """Of a watched question: the text as it was handed out."""
    first_piece_ms: float | None = None
    """Of a watched question: from its beginning to the first piece."""
    time_to_first_token_ms: float | None
    duration_ms: float
    memory_mb: int
    memory_peak_mb: int


class ClientsAnswered(_Reply, frozen=True, kw_only=True, tag="clients-answered"):
    """What each client got; a failure stands as text in ``failures``."""

    alone: tuple[str, ...]
    together: tuple[str, ...]
    failures: tuple[str, ...]


class MalformedSent(_Reply, frozen=True, kw_only=True, tag="malformed-sent"):
    """The HTTP status of each malformed request by its name, and whether the server lives."""

    statuses: dict[str, int]
    alive: bool


class Health(_Reply, frozen=True, kw_only=True, tag="health"):
    """The HTTP status of the health request."""

    status: int


class Refused(_Reply, frozen=True, kw_only=True, tag="refused"):
    """The engine declined the question in good order."""

    message: str


class EngineFailed(_Reply, frozen=True, kw_only=True, tag="engine-failed"):
    """The engine failed while it answered."""

    message: str


class NotOffered(_Reply, frozen=True, kw_only=True, tag="not-offered"):
    """The engine has no way to do what is asked; never the model's fault, and it goes on."""

    message: str


class LoadFailed(_Reply, frozen=True, kw_only=True, tag="load-failed"):
    """The engine could not load the model; the model's fault."""

    message: str


class Absent(_Reply, frozen=True, kw_only=True, tag="absent"):
    """Engine, library or device is not here; never the model's fault."""

    message: str
    architecture: bool = False
    """Whether it is the model's architecture that this engine does not know."""


class OutOfMemory(_Reply, frozen=True, kw_only=True, tag="out-of-memory"):
    """The machine has not enough memory."""

    message: str


class Broken(_Reply, frozen=True, kw_only=True, tag="broken"):
    """Our own code failed in the child; never the model's fault."""

    message: str


Request = (
    Inspect
    | CompareWeights
    | JudgeFiles
    | Derive
    | ProfileModel
    | Open
    | Ask
    | AskClients
    | SendMalformed
    | CheckHealth
)
Reply = (
    Inspected
    | WeightsCompared
    | FilesJudged
    | Derived
    | Profiled
    | Opened
    | Answered
    | ClientsAnswered
    | MalformedSent
    | Health
    | Refused
    | EngineFailed
    | NotOffered
    | LoadFailed
    | Absent
    | OutOfMemory
    | Broken
)


def _path_to_text(value: object) -> str:
    return os.fspath(value)  # type: ignore[call-overload,no-any-return] # only paths get here


def _text_to_path(kind: type, value: str) -> object:
    return kind(value)


encode = msgspec.json.Encoder(enc_hook=_path_to_text).encode
decode_request = msgspec.json.Decoder(Request, dec_hook=_text_to_path).decode
decode_reply = msgspec.json.Decoder(Reply, dec_hook=_text_to_path).decode
