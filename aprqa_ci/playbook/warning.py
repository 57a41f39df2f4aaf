"""What a playbook's author should know, though the playbook can be used."""

from dataclasses import dataclass
from enum import StrEnum

from aprqa_ci.errors import Problem

__all__ = ["PlaybookWarning", "WarningKind"]


class WarningKind(StrEnum):
    """The kinds of warnings; the first six are legacy spellings that were made regular."""

    QUOTED_BOOLEAN = "quoted-boolean"
    QUOTED_NUMBER = "quoted-number"
    PROPERTY_TEST_LIST = "property-test-list"
    HYPHENATED_POLICY = "hyphenated-policy"
    UNUSUAL_NAME = "unusual-name"
    AUTO_SIZE = "auto-size"
    GATEWAY_OFF = "gateway-off"
    """A gateway is set to ``false``, so no run can be certified."""
    SIZE_MISSING = "size-missing"
    """The size is not given, so the limits of the default size hold."""


@dataclass(frozen=True, kw_only=True)
class PlaybookWarning(Problem):
    """A warning, which has a kind so that equal ones can be shown together."""

    kind: WarningKind
