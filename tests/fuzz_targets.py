"""What reads bytes of strangers, one function each, and what it may say to them.

A target takes any bytes and returns, or raises one of the errors that its room documents; anything
else is a find. The seeds are our own files. ``scripts/fuzz.py`` runs them for as long as wished,
and the tests of ``tests/integration/security`` for a moment.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np

from aprqa_ci.certification.bundle import read_bundle
from aprqa_ci.certification.collecting import artifact_name, collect_shards
from aprqa_ci.certification.timings import read_timings
from aprqa_ci.data_files import data_directory
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.journal import Journal, JournalHead, read_journal
from aprqa_ci.evidence.merging import merge, read_shard
from aprqa_ci.evidence.reading import parse_evidence
from aprqa_ci.execution.engines.chat_template import ChatTemplate
from aprqa_ci.execution.engines.interface import EngineFailedError, Message
from aprqa_ci.execution.fetching.manifest import FetchedModel, ModelFile, Models
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.tokenizer import load_tokenizer
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.oracles.interface import Question
from aprqa_ci.execution.oracles.registry import build_oracle, oracle_for
from aprqa_ci.files import sha256_bytes
from aprqa_ci.github.context import read_context
from aprqa_ci.planning.expand import PlanOptions, expand
from aprqa_ci.planning.family_contract import read_family_contract
from aprqa_ci.planning.plan import OracleSpec, Plan, plan_digest
from aprqa_ci.planning.runner_classes import parse_runners
from aprqa_ci.playbook.conditions.condition import read_condition
from aprqa_ci.playbook.conditions.tokens import ConditionError
from aprqa_ci.playbook.load import parse_playbook
from aprqa_ci.playbook.lock import LEGACY_LOCK_PATH, LOCK_PATH, lock_of, read_lock
from aprqa_ci.redaction import redaction_of
from aprqa_ci.registry.models_csv import apply, read_registry
from aprqa_ci.registry.readme_table import render_table
from aprqa_ci.registry.row_update import RowUpdate
from aprqa_ci.reports.write import report_contents
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.vocabulary import SizeCategory, Status
from aprqa_ci.wire import decode_wire, pretty_json
from tests.bundles import made_bundle
from tests.hostile_texts import hostile_report
from tests.playbooks import load, planned, playbook_data
from tests.records import made_records, made_shard

__all__ = ["TARGETS", "Target", "seeds_of"]

REPOSITORY = Path(__file__).resolve().parents[1]
FINDS = REPOSITORY / "tests" / "data" / "fuzz"
_MODEL = REPOSITORY / "aprqa_ci" / "data" / "models" / "aprqa-tiny"
_ENVIRONMENT = {
    "GITHUB_REPOSITORY": "owner/name",
    "GITHUB_EVENT_NAME": "pull_request",
    "GITHUB_REF": "refs/pull/7/merge",
    "GITHUB_SHA": "a" * 40,
    "GITHUB_ACTOR": "somebody",
    "GITHUB_RUN_ID": "1",
}
_SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One reader."""

    read: Callable[[bytes], object]
    allowed: tuple[type[Exception], ...]
    """What it may raise."""
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...] = ()
    """What mutations put in, beside bytes."""

    def run(self, data: bytes) -> bool:
        """Read the bytes; returns whether they were taken.

        Raises:
            Exception: one that it may not raise.
        """
        try:
            self.read(data)
        except self.allowed:
            return False
        return True


@cache
def _scratch() -> Path:
    """Return a folder that lives as long as the process."""
    made = tempfile.TemporaryDirectory(prefix="aprqa-fuzz-")
    _KEPT.append(made)
    return Path(made.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _file(name: str, data: bytes) -> Path:
    path = _scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@cache
def _plan() -> Plan:
    return planned(playbook_data(), tier="quick")


def _playbook(data: bytes) -> None:
    loaded = parse_playbook(data, path=Path("/x/p.playbook.yaml"))
    # The tier of fewest scenarios: how many there are is bounded elsewhere.
    options = PlanOptions(tier="quick")
    expand([loaded], options=options, tool_version="0", root=Path("/x"), baselines={})


def _read_plan(data: bytes) -> None:
    plan = decode_wire(data, Plan, source="plan.json")
    plan_digest(plan)
    for entry in plan.playbooks:
        plan.for_playbook(entry.name)


def _bundle(data: bytes) -> None:
    """Read the bundle with one of its files replaced; the first byte says which."""
    folder = _scratch() / "bundle"
    if not folder.exists():
        made_bundle(folder)
    name = ("plan.json", "evidence.json", "certificate.json")[data[0] % 3] if data else "plan.json"
    path = folder / name
    whole = path.read_bytes()
    try:
        path.write_bytes(data[1:])
        read_bundle(folder)
        read_timings(folder)
    finally:
        path.write_bytes(whole)


def _bundle_seeds() -> Iterable[bytes]:
    folder = _scratch() / "bundle-seeds"
    made_bundle(folder)
    for number, name in enumerate(("plan.json", "evidence.json", "certificate.json")):
        yield bytes([number]) + (folder / name).read_bytes()


def _certificate_seed() -> bytes:
    return (
        made_bundle(_scratch() / "certificate-seeds")
        .directory.joinpath("certificate.json")
        .read_bytes()
    )


_DIGEST = b"the evidence's own"


def _shard(data: bytes) -> None:
    """Read a shard whose manifest comes before a form feed and whose evidence comes after it."""
    manifest, _, evidence = data.partition(b"\f")
    # Else every change of the evidence would end at its digest.
    manifest = manifest.replace(_DIGEST, sha256_bytes(evidence).encode())
    folder = _scratch() / "shards" / artifact_name("s001", 1)
    _file(f"shards/{folder.name}/manifest.json", manifest)
    _file(f"shards/{folder.name}/evidence.json", evidence)
    plan = _plan()
    collected = collect_shards(folder.parent, plan_digest=plan_digest(plan))
    merge([read_shard(each) for each in collected.directories], plan)


def _shard_seeds() -> Iterable[bytes]:
    shard = made_shard(_plan(), "s001")
    evidence = pretty_json(shard.records)
    manifest = json.loads(pretty_json(shard.manifest))
    manifest["files"] = {"evidence.json": _DIGEST.decode()}
    yield pretty_json(manifest) + b"\f" + evidence
    for name in ("../../../etc/passwd", "/etc/passwd", "link", "evidence.json\0"):
        manifest["files"] = {name: "0" * 64}
        yield pretty_json(manifest) + b"\f[]"


def _journal_seed() -> bytes:
    path = _scratch() / "journal-seed"
    with Journal(path, JournalHead(run_id="r", plan_digest="p", started="s"), resume=False) as own:
        own.digests("tiny", "gguf-q8_0", {"model.gguf": "0" * 64})
        for record in made_records(_plan()):
            own.append(record)
    return path.read_bytes()


def _registry(data: bytes) -> None:
    registry = read_registry(data, source="models.csv")
    render_table(registry)
    apply(registry, _UPDATE)


_UPDATE = RowUpdate(
    model_id="org/name",
    status=Status.CERTIFIED,
    mqs_score=900,
    grade="A",
    certified_tier="mvp",
    last_certified="2026-01-02T03:04:05Z",
    g1=True,
    g2=True,
    g3=True,
    g4=True,
    family="llama",
    parameters="1B",
    size_category=SizeCategory.TINY,
)


def _event(data: bytes) -> None:
    read_context({**_ENVIRONMENT, "GITHUB_EVENT_PATH": str(_file("event.json", data))})


def _event_seeds() -> Iterable[bytes]:
    repository = {"full_name": "owner/name", "default_branch": "main"}
    side = {"sha": _SHA, "ref": "topic", "repo": repository}
    run = {"id": 7, "event": "pull_request", "head_sha": _SHA, "head_branch": "topic"}
    for event in (
        {"repository": repository, "pull_request": {"number": 7, "head": side, "base": side}},
        {"repository": repository, "workflow_run": run | {"head_repository": repository}},
        {"schedule": "0 3 * * *"},
    ):
        yield json.dumps(event).encode()


def _safetensors(data: bytes) -> None:
    with np.errstate(all="ignore"):
        weights = open_safetensors([_file("fuzz.safetensors", data)])
        for name in weights.tensors:
            weights.load(name)
        weights.close()


def _gguf(data: bytes) -> None:
    with np.errstate(all="ignore"):
        weights = open_gguf(_file("fuzz.gguf", data))
        for name in weights.tensors:
            weights.load(name)
        weights.close()


def _tokenizer(data: bytes) -> None:
    _file("tokenizer/tokenizer.json", data)
    tokenizer = load_tokenizer(_scratch() / "tokenizer")
    tokenizer.decode(tokenizer.encode("Hello, 2+2 = 4!\n"))


def _tokenizer_seeds() -> Iterable[bytes]:
    raw = json.loads((_MODEL / "tokenizer.json").read_bytes())
    vocabulary = sorted(raw["model"]["vocab"].items(), key=lambda item: item[1])[:300]
    known = dict(vocabulary)
    pairs = [each if isinstance(each, list) else each.split(" ") for each in raw["model"]["merges"]]
    merges = [pair for pair in pairs if all(part in known for part in (*pair, "".join(pair)))]
    raw["model"] |= {"vocab": known, "merges": merges}
    yield json.dumps(raw).encode()
    raw["model"]["merges"] = [" ".join(pair) for pair in merges]
    yield json.dumps(raw).encode()


def _template(data: bytes) -> None:
    talk = [Message(role="system", content="Be brief."), Message(role="user", content="2+2?")]
    ChatTemplate(data.decode("utf-8", "replace"), bos_token="<s>", eos_token="</s>").render(talk)


def _template_seeds() -> Iterable[bytes]:
    config = json.loads((_MODEL / "tokenizer_config.json").read_bytes())
    yield config["chat_template"].encode()
    yield b"{% for m in messages %}{{ m['role'] }}: {{ m.content | trim }}\n{% endfor %}"
    yield (
        b"{%- set ns = namespace(x='') -%}{% for i in range(3) %}{% set ns.x = ns.x * 2 %}"
        b"{% endfor %}{% macro f(a, b=1) %}{{ a ~ b }}{% endmacro %}{{ f('x') | tojson(indent=2) }}"
    )
    yield (
        b"{% if messages[0].role == 'system' %}{{ messages[1:] | map(attribute='content') | join }}"
        b"{% else %}{{ raise_exception('no') }}{% endif %}"
    )


def _contract(data: bytes) -> None:
    read_family_contract(_file("contract.yaml", data))


_CONTRACT = b"""\
family: llama
hf_pattern: "*/Llama-*"
size_variants:
  1b: {parameters: "1B", hidden_dim: 2048, num_layers: 16, num_heads: 32, num_kv_heads: 8}
constraints: {attention_type: gqa, activation: silu, tied: true}
certification:
  csv_family_key: llama
  size_categories: {1b: small}
"""


def _lock(data: bytes) -> None:
    """Read our lock or that of the existing tool; the first byte says which."""
    for folder in ("own", "legacy"):
        (_scratch() / folder).mkdir(exist_ok=True)
    if data[:1] == b"0":
        _file(f"legacy/{LEGACY_LOCK_PATH}", data[1:])
        read_lock(_scratch() / "legacy")
    else:
        _file(f"own/{LOCK_PATH}", data[1:])
        read_lock(_scratch() / "own")


def _lock_seeds() -> Iterable[bytes]:
    loaded = load(playbook_data(), folder=Path("/x/playbooks"))
    yield b"1" + pretty_json(lock_of([loaded], root=Path("/x")))
    yield b"0entries:\n  tiny:\n    sha256: " + b"a" * 64 + b"\n    locked_fields: [name]\n"


def _answer(data: bytes) -> None:
    """Judge an answer and put it into every report, as answer, reason, stderr and cause."""
    text = data.decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()
    question = Question(prompt="What is 2+2?")
    for spec in _ORACLES:
        oracle_for(spec).judge(question, text)
    build_oracle(OracleSpec(kind="garbage")).judge(question, text)
    redaction_of({"HF_TOKEN": "some-token-0123456789"})(text)
    for contents in _reported(text):
        assert contents


_ORACLES = (
    OracleSpec(kind="arithmetic"),
    OracleSpec(kind="code_syntax", config={"language": "python"}),
    OracleSpec(kind="contains", config={"any": ["4"]}),
    OracleSpec(kind="json"),
    OracleSpec(kind="response"),
)


def _reported(text: str) -> Iterable[bytes]:
    return report_contents(hostile_report(text)).values()


def _read_as(model: type) -> Callable[[bytes], object]:
    return lambda data: decode_wire(data, model, source="file.json")


_TREE = (
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e999",
    b"1" * 400,
    b"9223372036854775808",
    b'"\\ud800"',
    b'"\\u0000"',
    b"[]",
    b"{}",
    b"[" * 2000,
    b'{"a":' * 2000,
    b'"' + b"x" * 3000 + b'"',
    b"\xff",
    b'"../../x"',
    b'"2026-13-45T99:99:99Z"',
    b"\xef\xbb\xbf",
    b"NaN",
)
_YAML = (
    *_TREE,
    b"&a [*a]",
    b"*a",
    b"<<: *a",
    b"!!python/object:os.system x",
    b"!!binary x",
    b"? [x]",
    b"!!timestamp 2026-99-99",
    b"0b1",
    b"1_000",
    b"12:30:45",
    b".inf",
    b".nan",
    b"\t",
    b"|\n",
    b"---\n",
    b"&a",
    b"2026-02-30",
    b"0o9",
    b"!!int x",
    b"!!float y",
    b"!!set {a}",
    b"%YAML 9.9\n---\n",
)
_BINARY = (
    b"\xff" * 8,
    b"\x00" * 8,
    b"\x00\x00\x00\x80",
    b"\xff\xff\xff\x7f",
    b"\x01\x00\x00\x00\x00\x00\x00\x00",
    b"GGUF",
    b'"dtype":"F32"',
    b'"shape":[]',
    b'"data_offsets":[0,0]',
    b"general.alignment",
)
_CSV = (
    b'"',
    b'""',
    b",",
    b"\r",
    b"\n",
    b"\r\n",
    b"=1+1",
    b"@x",
    b"\x00",
    b"\xff",
    b"1e999",
    b"NaN",
)
_JINJA = (
    b"{{",
    b"}}",
    b"{%",
    b"%}",
    b" * ",
    b" ** ",
    b"9" * 12,
    b"range(",
    b"''.__class__",
    b"|attr('__init__')",
    b"messages",
    b"|tojson",
    b"|format(",
    b"'%099999999d'",
    b"|center(",
    b"loop.cycle",
    b"|batch(9)",
    b"|indent(",
    b"|replace('','x')",
    b"namespace()",
    b"self",
    b"{# #}",
    b"{% raw %}",
    b"|sum",
    b"|urlize",
)

TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "playbook": Target(
            read=_playbook,
            allowed=(InputError,),
            seeds=lambda: (
                path.read_bytes()
                for path in sorted(REPOSITORY.glob("playbooks/*/*.yaml"))
                if path.name.startswith(("aprqa", "smoke", "gemma-2-2b", "full"))
            ),
            words=_YAML,
        ),
        "condition": Target(
            read=lambda data: read_condition(data.decode("utf-8", "replace")),
            allowed=(ConditionError,),
            seeds=lambda: (
                b"output.length > 0 && !stderr.contains('panic')",
                b"ttft < (backend == 'cpu' ? 2000 : 5e2)",
                b"run(seed=42) == run(seed=42)",
                b"gguf_output ~= apr_output && -duration_ms < 1 - 2 * 3",
            ),
            words=(b"(" * 500, b"!" * 300, b"9" * 5000, b"1e999", b"'", b'"', b" && "),
        ),
        "plan": Target(
            read=_read_plan,
            allowed=(InputError,),
            seeds=lambda: (pretty_json(_plan()),),
            words=_TREE,
        ),
        "evidence": Target(
            read=lambda data: parse_evidence(data, source="evidence.json"),
            allowed=(InputError,),
            seeds=lambda: (
                pretty_json(made_records(_plan())[:3]),
                b'{"evidence": ' + pretty_json(made_records(_plan())[:2]) + b"}",
            ),
            words=_TREE,
        ),
        "journal": Target(
            read=lambda data: read_journal(_file("journal", data)),
            allowed=(InputError,),
            seeds=lambda: (_journal_seed(),),
            words=(*_TREE, b"\n"),
        ),
        "certificate": Target(
            read=_read_as(Certificate),
            allowed=(InputError,),
            seeds=lambda: (_certificate_seed(),),
            words=_TREE,
        ),
        "bundle": Target(read=_bundle, allowed=(InputError,), seeds=_bundle_seeds, words=_TREE),
        "registry": Target(
            read=_registry,
            allowed=(InputError,),
            seeds=lambda: ((REPOSITORY / "docs" / "certifications" / "models.csv").read_bytes(),),
            words=_CSV,
        ),
        "safetensors": Target(
            read=_safetensors,
            allowed=(FormatError,),
            seeds=lambda: (_small_safetensors(),),
            words=(*_BINARY, *_TREE),
        ),
        "gguf": Target(
            read=_gguf,
            allowed=(FormatError,),
            seeds=lambda: (_small_gguf(),),
            words=_BINARY,
        ),
        "tokenizer": Target(
            read=_tokenizer,
            allowed=(FormatError,),
            seeds=_tokenizer_seeds,
            words=_TREE,
        ),
        "template": Target(
            read=_template, allowed=(EngineFailedError,), seeds=_template_seeds, words=_JINJA
        ),
        "shard": Target(read=_shard, allowed=(InputError,), seeds=_shard_seeds, words=_TREE),
        "event": Target(read=_event, allowed=(InputError,), seeds=_event_seeds, words=_TREE),
        "runners": Target(
            read=lambda data: parse_runners(data, source="runners.yaml"),
            allowed=(InputError,),
            seeds=lambda: (data_directory().joinpath("runners.yaml").read_bytes(),),
            words=_YAML,
        ),
        "contract": Target(
            read=_contract, allowed=(InputError,), seeds=lambda: (_CONTRACT,), words=_YAML
        ),
        "lock": Target(read=_lock, allowed=(InputError,), seeds=_lock_seeds, words=_YAML),
        "models": Target(
            read=_read_as(Models),
            allowed=(InputError,),
            seeds=lambda: (pretty_json(_models()),),
            words=_TREE,
        ),
        "answer": Target(
            read=_answer,
            allowed=(),
            seeds=lambda: (b"The answer is 4.", b"```python\nx = [1]\n```", b'{"a": [1, 2]}'),
            words=(
                b"\x1b[31m",
                b"::error::",
                b"|",
                b"`" * 5,
                b"<!--",
                b"\x00",
                b"\xed\xa0\x80",
                b"9" * 500,
                b"(" * 300,
            ),
        ),
    }
)


def _models() -> Models:
    file = ModelFile(path="model.gguf", size=1, sha256="0" * 64)
    model = FetchedModel(
        repo="org/name", revision="main", commit=_SHA, variants=("gguf-q8_0",), files=(file,)
    )
    return Models(plan="p", models=(model,))


def _small_safetensors() -> bytes:
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [16, 24]},
        "c": {"dtype": "F16", "shape": [0], "data_offsets": [24, 24]},
    }
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(range(24))


def _small_gguf() -> bytes:
    def text(value: str) -> bytes:
        return len(value).to_bytes(8, "little") + value.encode()

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, "little")

    metadata = [
        text("general.architecture") + number(8, 4) + text("llama"),
        text("general.alignment") + number(4, 4) + number(32, 4),
        text("llama.block_count") + number(4, 4) + number(1, 4),
        text("a.list") + number(9, 4) + number(8, 4) + number(2, 8) + text("x") + text("y"),
    ]
    tensors = [
        text("t0") + number(2, 4) + number(2, 8) + number(2, 8) + number(0, 4) + number(0, 8),
        text("t1") + number(1, 4) + number(32, 8) + number(8, 4) + number(32, 8),
    ]
    head = b"GGUF" + number(3, 4) + number(len(tensors), 8) + number(len(metadata), 8)
    head += b"".join(metadata) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(32) + bytes(34)


def seeds_of(name: str) -> list[bytes]:
    """Return the seeds of a target, those among them that once were finds included."""
    finds = sorted((FINDS / name).glob("*")) if (FINDS / name).is_dir() else []
    return [*TARGETS[name].seeds(), *(path.read_bytes() for path in finds)]
