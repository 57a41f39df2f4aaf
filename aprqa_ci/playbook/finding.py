"""Something that is wrong at one path of a document, before its line is known."""

from dataclasses import dataclass

from aprqa_ci.playbook.yaml_source import YamlPath

__all__ = ["Finding"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    path: YamlPath
    """Where; for an unknown key, the key itself."""
    what: str
    hint: str = ""
