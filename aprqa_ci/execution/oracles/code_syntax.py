"""Is the code in the answer code? It is parsed by a real parser of its language."""

import ast
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aprqa_ci.errors import InputError
from aprqa_ci.execution.oracles.interface import Judgement, OracleVerdict, Question
from aprqa_ci.execution.oracles.json_text import parse_json
from aprqa_ci.execution.oracles.text import FencedBlock, fenced_blocks, plain_answer, quoted
from aprqa_ci.planning.oracle_choice import code_language, started_language
from aprqa_ci.wire import WireModel

__all__ = ["CodeSyntaxConfig", "CodeSyntaxOracle"]

_ALIASES = {
    "py": "python",
    "python3": "python",
    "rs": "rust",
    "js": "javascript",
    "node": "javascript",
    "ts": "typescript",
    "golang": "go",
    "c++": "cpp",
    "cs": "csharp",
    "c#": "csharp",
    "sh": "bash",
}
_NOT_CODE = frozenset(["text", "txt", "output", "console", "plaintext", "plain"])


class CodeSyntaxConfig(WireModel, frozen=True, kw_only=True):
    """Settings of the code syntax oracle."""

    language: str | None = None
    """The language that the prompt asks for. It goes before ``languages``."""
    languages: tuple[str, ...] = ()
    """Languages that are judged where the answer's fence or the prompt names one of them."""
    defines: str | None = None
    """A function or class of this name must be defined; Python only."""
    required: bool = True
    """Whether an answer without code is wrong; else the oracle does not apply to it."""

    def __post_init__(self) -> None:
        """Refuse a definition in a language that is not read for definitions."""
        if self.defines is not None and _plain_name(self.language or "python") != "python":
            what = f"defines works for python only, not for {self.language}"
            raise InputError(what)


@dataclass(frozen=True, kw_only=True)
class _Finding:
    """What came of one piece of code."""

    fault: str = ""
    shows: str = ""


@dataclass(frozen=True, kw_only=True)
class CodeSyntaxOracle:
    """The code in the answer parses.

    The code is every fenced block in the language, or the bare answer. Bare text counts as Python
    only if a statement in it does something (a definition, an import, an assignment, a call, a loop
    and the like), so that ``hello`` is no program; bare JSON must be an object or an array. A raw
    prompt is put before the answer, and the answer is read up to the first line that leaves the
    prompt's block. Where the token limit may have cut the code (a raw answer, a fence that stays
    open), the last line is left out if it does not parse with it.
    """

    config: CodeSyntaxConfig = field(default_factory=CodeSyntaxConfig)
    name: str = "code_syntax"

    def judge(self, question: Question, answer: str) -> Judgement:
        """Judge one answer; not applicable to languages without a parser here."""
        plain = plain_answer(answer)
        wanted = self._wanted(question)
        blocks = [
            (self._language_of(block, wanted), block)
            for block in fenced_blocks(plain.text)
            if block.language not in _NOT_CODE
        ]
        if blocks and not question.raw:
            judged = self._blocks(blocks, wanted)
        elif wanted is None:
            judged = OracleVerdict.NOT_APPLICABLE, "neither the prompt nor a fence names a language"
        elif wanted not in _PARSERS:
            judged = OracleVerdict.NOT_APPLICABLE, f"no parser for {wanted} here"
        else:
            judged = self._bare(question, plain.text, wanted)
        verdict, reason = judged
        return Judgement(
            oracle=self.name,
            verdict=verdict,
            reason=reason + plain.note,
            kind="wrong" if verdict is OracleVerdict.FALSIFIED else "",
        )

    def _wanted(self, question: Question) -> str | None:
        """Return the language that the answer must be in, as far as it is known."""
        if self.config.language is not None:
            return _plain_name(self.config.language)
        named = code_language(question.prompt)
        listed = [_plain_name(language) for language in self.config.languages]
        if named is not None and (named in listed or not listed):
            return named
        return None

    def _language_of(self, block: FencedBlock, wanted: str | None) -> str | None:
        return _plain_name(block.language) if block.language else wanted

    def _blocks(
        self, blocks: Sequence[tuple[str | None, FencedBlock]], wanted: str | None
    ) -> tuple[OracleVerdict, str]:
        """Judge fenced blocks: all that are in the language, or in one of the languages."""
        listed = {_plain_name(language) for language in self.config.languages}
        known = {wanted} if wanted is not None else listed or set(_PARSERS)
        fitting = [(language, block) for language, block in blocks if language in known]
        if not fitting:
            names = ", ".join(sorted({language or "no language" for language, _ in blocks}))
            if wanted is None:
                return OracleVerdict.NOT_APPLICABLE, f"the fence names {names}"
            if wanted not in _PARSERS:
                return OracleVerdict.NOT_APPLICABLE, f"no parser for {wanted} here"
            return OracleVerdict.FALSIFIED, f"{wanted} was asked for, the fence names {names}"
        parsed = [(language, block) for language, block in fitting if language in _PARSERS]
        if not parsed:
            return OracleVerdict.NOT_APPLICABLE, f"no parser for {fitting[0][0]} here"
        shown = []
        for language, block in parsed:
            finding = _parse(str(language), block.code, may_be_cut=not block.closed, bare=False)
            if finding.fault:
                return OracleVerdict.FALSIFIED, f"{language}: {finding.fault}"
            shown.append(block.code)
        return self._defined("\n\n".join(shown), f"{parsed[0][0]} parses: {len(parsed)} block(s)")

    def _bare(self, question: Question, text: str, wanted: str) -> tuple[OracleVerdict, str]:
        """Judge an answer without fences."""
        if question.raw:
            candidates = [_continued(question.prompt, text)]
        else:
            candidates = [text, _code_lines(text)]
            if started_language(question.prompt) == wanted:
                candidates.append(f"{question.prompt.rstrip()}\n{text}")
        faults = []
        for candidate in candidates:
            if not candidate.strip() or not text.strip():
                continue
            finding = _parse(wanted, candidate, may_be_cut=question.raw, bare=True)
            if not finding.fault:
                return self._defined(candidate, f"{wanted} parses: {finding.shows}")
            faults.append(finding.fault)
        if not self.config.required:
            return OracleVerdict.NOT_APPLICABLE, f"no {wanted} in the answer"
        # The last candidate is the one that looked most like code.
        fault = faults[-1] if faults else "nothing was answered"
        return OracleVerdict.FALSIFIED, f"no {wanted} that parses: {fault}; {quoted(text.strip())}"

    def _defined(self, code: str, reason: str) -> tuple[OracleVerdict, str]:
        """Add the check of ``defines`` to code that parses."""
        name = self.config.defines
        if name is None:
            return OracleVerdict.CORROBORATED, reason
        if re.search(
            rf"^[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]+{re.escape(name)}\b", code, re.MULTILINE
        ):
            return OracleVerdict.CORROBORATED, f"{reason}, {name} is defined"
        return OracleVerdict.FALSIFIED, f"{reason}, but {name} is not defined"


def _plain_name(language: str) -> str:
    name = language.lower()
    return _ALIASES.get(name, name)


def _parse(language: str, code: str, *, may_be_cut: bool, bare: bool) -> _Finding:
    finding = _PARSERS[language](code, bare)
    if finding.fault and may_be_cut and language == "python":
        whole_lines = code.rstrip("\n").rpartition("\n")[0]
        shorter = _PARSERS[language](whole_lines, bare)
        if not shorter.fault and whole_lines.strip():
            return _Finding(shows=f"{shorter.shows}, without its cut last line")
    return finding


_ACTS = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.Import, ast.ImportFrom),
    *(ast.Assign, ast.AugAssign, ast.NamedExpr, ast.Call, ast.For, ast.AsyncFor, ast.While, ast.If),
    *(ast.With, ast.AsyncWith, ast.Try, ast.Raise, ast.Assert, ast.Delete, ast.Match),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
)
"""A text with none of these is prose or a value that happens to parse."""


def _python(code: str, bare: bool) -> _Finding:  # noqa: FBT001 - the parsers' one signature
    """Parse Python; the limits of the parser itself are faults of the code."""
    try:
        with warnings.catch_warnings():
            # What a parser only warns of ("\d" in a string) is valid.
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
            nodes = list(ast.walk(tree))
    except SyntaxError as error:
        return _Finding(fault=f"line {error.lineno or 1}: {error.msg}")
    except (RecursionError, MemoryError):
        return _Finding(fault="nested too deeply to be read")
    except ValueError as error:
        return _Finding(fault=str(error))
    if not tree.body:
        return _Finding(fault="no statement in it")
    if bare and not any(isinstance(node, _ACTS) for node in nodes):
        return _Finding(fault="no statement that does anything")
    return _Finding(shows=f"{len(tree.body)} statement(s)")


def _json(code: str, bare: bool) -> _Finding:  # noqa: FBT001 - the parsers' one signature
    try:
        value = parse_json(code.strip())
    except ValueError as error:
        return _Finding(fault=str(error))
    if bare and not isinstance(value, dict | list):
        return _Finding(fault="neither an object nor an array")
    return _Finding(shows="a value")


_PARSERS: Mapping[str, Callable[[str, bool], _Finding]] = {"python": _python, "json": _json}


def _continued(prompt: str, answer: str) -> str:
    """Put a raw prompt and its continuation together, up to where the prompt's block ends."""
    lines = answer.split("\n")
    kept = lines[:1]
    in_block = prompt.rstrip().endswith(":") or not prompt.rstrip("\n").startswith((" ", "\t"))
    for line in lines[1:]:
        if in_block and line.strip() and not line.startswith((" ", "\t", ")", "]", "}")):
            break
        kept.append(line)
    return prompt + "\n".join(kept)


_STARTS_CODE = re.compile(r"(?:def|class|import|from|async|@\w)")
_GOES_ON = re.compile(
    r"\s|$|[)\]}#@]|(?:def|class|import|from|async|if|for|while|try|except|finally|else|elif|with"
    r"|return|print|raise|assert)\b|[A-Za-z_][\w.]*\s*(?:[-+*/]?=|\(|\[)"
)


def _code_lines(text: str) -> str:
    """Return the lines of an answer without fences that look like a Python program."""
    lines = text.split("\n")
    first = next((at for at, line in enumerate(lines) if _STARTS_CODE.match(line)), None)
    if first is None:
        return ""
    kept = []
    for line in lines[first:]:
        if not _GOES_ON.match(line):
            break
        kept.append(line)
    return "\n".join(kept)
