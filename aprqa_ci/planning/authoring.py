"""Writing playbooks: a tier's template, filled in for one model.

What is written is text that a person goes on with: comments and order of the template stay.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from aprqa_ci.data_files import BUNDLED, BUNDLED_REPO, data_directory, load_data
from aprqa_ci.errors import AprqaError, InputError, Problem
from aprqa_ci.files import read_bounded
from aprqa_ci.planning.known_models import KnownModel, known_model, made_quantizations
from aprqa_ci.planning.model_size import category_of, named_billions
from aprqa_ci.planning.tiers import tier_named
from aprqa_ci.playbook.load import parse_playbook
from aprqa_ci.playbook.model import ModelSpec
from aprqa_ci.playbook.template import fill_placeholders
from aprqa_ci.playbook.yaml_source import MAX_YAML_BYTES, YamlDocument, read_yaml
from aprqa_ci.vocabulary import ModelFormat, SizeCategory
from aprqa_ci.wire import WireModel

__all__ = ["ModelFacts", "facts_of", "find_template", "write_playbook"]

_TEMPLATE_NAME = "{tier}-template.yaml"
_TUNED_ENDING = re.compile(r"[-_.](?:instruct|it|chat|hf|base)$")
_NOT_OF_A_NAME = re.compile(r"[^a-z0-9.-]+")
_LINE_WIDTH = 96
_SHORT_LIST = 64


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a playbook states of its model, and what else is put into the template."""

    repo: str
    name: str
    """The stem of the playbook's name."""
    size_category: SizeCategory
    model: Mapping[str, Any] = field(default_factory=dict)
    """More keys of the ``model`` section, in their order."""
    test_matrix: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the ``test_matrix`` section that take the place of the template's."""
    profile_ci: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the ``profile_ci`` section that do so, in a template that has one."""
    sections: Mapping[str, Any] = field(default_factory=dict)
    """Sections that the template does not have; they go to its end."""
    remarks: Sequence[str] = ()
    """Sentences for the comment at the top, each a line."""


class _Bundled(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-bundled/1"]
    model: dict[str, Any]
    test_matrix: dict[str, Any]
    profile_ci: dict[str, Any]


def facts_of(
    repo: str, tier: str, *, name: str | None = None, size: SizeCategory | None = None
) -> ModelFacts:
    """Return what is known of a repository: from the catalogue, else from its name.

    Args:
        repo: the repository, ``org/name``, or ``bundled`` for the model that comes with the
            package.
        tier: the tier that the playbook is for.
        name: the stem of the playbook's name, instead of the repository's in lower case.
        size: the size category, instead of what the catalogue or the name tells.

    Raises:
        InputError: it is no repository, or nothing tells its size.
    """
    if repo in {BUNDLED, BUNDLED_REPO}:
        bundled = load_data("bundled.yaml", _Bundled)
        return ModelFacts(
            repo=BUNDLED_REPO,
            name=name or _stem(BUNDLED_REPO),
            size_category=size or SizeCategory.TINY,
            model=bundled.model,
            test_matrix=bundled.test_matrix,
            profile_ci=bundled.profile_ci,
            remarks=("The model comes with aprqa: neither network nor GPU is needed.",),
        )
    try:
        msgspec.convert({"hf_repo": repo}, type=ModelSpec)
    except msgspec.ValidationError as error:
        hint = f"write org/name, for example Qwen/Qwen2.5-0.5B-Instruct, or {BUNDLED}"
        raise InputError(Problem(what=f"{repo!r} is not a repository", hint=hint)) from error
    known = known_model(repo)
    if known is not None:
        return _of_catalogue(known, tier, name=name, size=size)
    billions = named_billions(repo)
    if size is None and billions is not None:
        size = category_of(billions)
    if size is None:
        what = f"the name of {repo} does not tell the model's size"
        hint = f"add --size, one of {', '.join(SizeCategory)}"
        raise InputError(Problem(what=what, hint=hint))
    return ModelFacts(repo=repo, name=name or _stem(repo), size_category=size)


def find_template(tier: str, *, folder: Path | None) -> tuple[bytes, Path]:
    """Return the bytes of a tier's template, and where it was found.

    Args:
        tier: the tier, or another word for it.
        folder: a folder of the user's with ``<tier>-template.yaml``; where it has none, and
            without it, the package's own is taken.

    Raises:
        InputError: there is no such tier, or the file cannot be read.
    """
    name = _TEMPLATE_NAME.format(tier=tier_named(tier).name)
    if folder is not None and (folder / name).is_file():
        return read_bounded(folder / name, MAX_YAML_BYTES), folder / name
    data = data_directory().joinpath("templates", name).read_bytes()
    return data, Path(name)


def write_playbook(template: bytes, facts: ModelFacts, *, source: Path) -> str:
    """Return the text of the playbook that the template is for this model.

    Args:
        template: the bytes of a template.
        facts: of the model.
        source: the template's name, for messages.

    Raises:
        InputError: the template is no template; every problem is named.
        AprqaError: what was written is no playbook that loads without a warning: a defect here or
            a contradiction in the template.
    """
    filled = _filled(read_yaml(template, source=source), _substitutions(facts), source)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = _LINE_WIDTH
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        document = yaml.load(template.decode())
    except YAMLError as error:
        raise InputError(Problem(what=f"not YAML: {error}", path=source)) from error
    _take_over(document, filled)
    _put(document["model"], facts.model)
    _put(document["test_matrix"], facts.test_matrix)
    if "profile_ci" in document:
        _put(document["profile_ci"], facts.profile_ci)
    document.yaml_set_start_comment("\n".join(_heading(facts, source)))
    parts = [document, *({key: _node(facts.sections[key])} for key in facts.sections)]
    text = "\n".join(_dumped(yaml, part).rstrip("\n") + "\n" for part in parts)
    _require_clean(text, source)
    return text


def _of_catalogue(
    known: KnownModel, tier: str, *, name: str | None, size: SizeCategory | None
) -> ModelFacts:
    remarks = []
    if known.gated:
        remarks = ["Gated: accept the licence on the hub, and set HF_TOKEN where it is fetched."]
    model: dict[str, Any] = {"formats": [str(each) for each in known.formats]}
    if ModelFormat.GGUF in known.formats:
        model["quantizations"] = list(made_quantizations(tier_named(tier).name))
    model |= {"family": known.family, "size_variant": known.size, **known.dimensions}
    return ModelFacts(
        repo=known.repo,
        name=name or known.name,
        size_category=size or known.size_category,
        model=model,
        remarks=remarks,
    )


def _stem(repo: str) -> str:
    name = _NOT_OF_A_NAME.sub("-", repo.rpartition("/")[2].lower())
    return _TUNED_ENDING.sub("", name).strip("._-") or "model"


def _substitutions(facts: ModelFacts) -> dict[str, str]:
    return {
        "MODEL_NAME": facts.name,
        "HF_REPO": facts.repo,
        "SIZE_CATEGORY": str(facts.size_category),
    }


def _filled(document: YamlDocument, substitutions: Mapping[str, str], source: Path) -> Any:  # noqa: ANN401 - YAML holds anything
    """Return the template's data with its placeholders filled in.

    Raises:
        InputError: it is no playbook's template, or has a placeholder that is not ours to fill in.
    """
    data = document.data
    lacking = [
        Problem(what=f"the template has no section `{key}`", path=source)
        for key in ("model", "test_matrix")
        if not isinstance(data, dict) or not isinstance(data.get(key), dict)
    ]
    if lacking:
        raise InputError(lacking)
    text = repr(data)
    wanted = {name: value for name, value in substitutions.items() if f"${{{name}}}" in text}
    filled = fill_placeholders(data, wanted)
    if filled.findings:
        raise InputError(
            Problem(what=each.what, path=source, line=document.line_of(each.path), hint=each.hint)
            for each in filled.findings
        )
    return filled.data


def _take_over(node: Any, filled: Any) -> None:  # noqa: ANN401 - YAML holds anything
    """Set the values of a document to those of plain data of its shape; its comments stay."""
    for key, value in filled.items() if isinstance(filled, dict) else enumerate(filled):
        if isinstance(value, (dict, list)):
            _take_over(node[key], value)
        elif isinstance(value, str) and node[key] != value:
            node[key] = value


def _put(section: CommentedMap, facts: Mapping[str, Any]) -> None:
    """Set keys; a new one goes before the last one, which has the section's empty line after it."""
    for key, value in facts.items():
        if key in section:
            section[key] = _node(value)
        else:
            section.insert(len(section) - 1, key, _node(value))


def _dumped(yaml: YAML, document: Any) -> str:  # noqa: ANN401 - YAML holds anything
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def _node(value: Any) -> Any:  # noqa: ANN401 - YAML holds anything
    """Return plain data the way people write it: lists of short things on one line."""
    if isinstance(value, dict):
        return CommentedMap({key: _node(item) for key, item in value.items()})
    if isinstance(value, list):
        node = CommentedSeq(value)
        if len(", ".join(map(str, value))) <= _SHORT_LIST:
            node.fa.set_flow_style()
        return node
    return value


def _heading(facts: ModelFacts, source: Path) -> list[str]:
    return [f"{facts.repo}, from {source.name}.", *facts.remarks]


def _require_clean(text: str, source: Path) -> None:
    loaded = parse_playbook(text.encode(), path=source)
    if loaded.warnings:
        what = f"{source.name} makes a playbook with warnings: " + "; ".join(
            str(each) for each in loaded.warnings
        )
        raise AprqaError(what)
