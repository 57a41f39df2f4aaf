"""``${NAME}`` placeholders: filled in in templates, refused everywhere else."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aprqa_ci.playbook.finding import Finding
from aprqa_ci.playbook.yaml_source import YamlPath, show_path
from aprqa_ci.wire import near_name

__all__ = ["Filled", "fill_placeholders"]

_PLACEHOLDER = re.compile(r"(?P<escape>\$)?\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, kw_only=True)
class Filled:
    """Data in which no placeholder is left, unless a finding says so."""

    data: Any
    substituted: tuple[YamlPath, ...]
    """Where text was put in."""
    findings: tuple[Finding, ...]


def fill_placeholders(data: Any, substitutions: Mapping[str, str] | None) -> Filled:  # noqa: ANN401 - YAML holds anything
    """Put text in for the placeholders of all values; ``$${NAME}`` stands for ``${NAME}``.

    What is put in is not read as YAML: it can be text, and where a number or boolean is expected
    its spelling.

    Args:
        data: plain data; not changed.
        substitutions: the text for each placeholder, or nothing where placeholders are not
            allowed at all.
    """
    filler = _Filler(substitutions)
    filled = filler.fill(data, ())
    if substitutions is not None:
        filler.check_all_used(substitutions)
    return Filled(
        data=filled,
        substituted=tuple(filler.substituted),
        findings=tuple(dict.fromkeys(filler.findings)),
    )


class _Filler:
    def __init__(self, substitutions: Mapping[str, str] | None) -> None:
        self._substitutions = substitutions
        self._used: set[str] = set()
        self.substituted: list[YamlPath] = []
        self.findings: list[Finding] = []

    def fill(self, value: Any, path: YamlPath) -> Any:  # noqa: ANN401 - YAML holds anything
        if isinstance(value, dict):
            return {key: self.fill(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item, (*path, number)) for number, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return self._fill_text(value, path)
        return value

    def _fill_text(self, text: str, path: YamlPath) -> str:
        def put_in(found: re.Match[str]) -> str:
            if found["escape"]:
                return found[0][1:]
            name = found["name"]
            self._used.add(name)
            if self._substitutions is None:
                self._find_forbidden(name, path)
            elif name not in self._substitutions:
                what = f"`{show_path(path)}` has the placeholder ${{{name}}}, which has no value"
                hint = near_name(name, list(self._substitutions))
                self.findings.append(Finding(path=path, what=what, hint=hint))
            else:
                self.substituted.append(path)
                return self._substitutions[name]
            return found[0]

        return _PLACEHOLDER.sub(put_in, text)

    def _find_forbidden(self, name: str, path: YamlPath) -> None:
        what = f"`{show_path(path)}` has the placeholder ${{{name}}}"
        hint = f"placeholders are for templates; write the value, or $${{{name}}} for that text"
        self.findings.append(Finding(path=path, what=what, hint=hint))

    def check_all_used(self, given: Mapping[str, str]) -> None:
        for name in sorted(set(given) - self._used):
            what = f"there is no placeholder ${{{name}}} in the template"
            hint = near_name(name, sorted(self._used))
            self.findings.append(Finding(path=(), what=what, hint=hint))
