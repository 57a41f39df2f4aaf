"""Certify language models, with proof.

The steps are plain functions; names are imported when they are first used:

>>> import aprqa_ci
>>> plan = aprqa_ci.make_plan(["playbooks/models/*.playbook.yaml"], ...)  # doctest: +SKIP
>>> results = aprqa_ci.certify(["my.playbook.yaml"], tier="mvp")  # doctest: +SKIP
>>> results[0].certificate.status  # doctest: +SKIP
<Status.CERTIFIED: 'CERTIFIED'>

``docs/api.md`` describes them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aprqa_ci.certification.api import certify as certify
    from aprqa_ci.certification.bundle import Bundle as Bundle
    from aprqa_ci.certification.bundle import read_bundle as read_bundle
    from aprqa_ci.certification.bundle import read_plan as read_plan
    from aprqa_ci.certification.registering import register_bundle as register_bundle
    from aprqa_ci.certification.steps import Surroundings as Surroundings
    from aprqa_ci.certification.steps import certify_plan as certify_plan
    from aprqa_ci.certification.steps import make_plan as make_plan
    from aprqa_ci.certification.steps import merge_shards as merge_shards
    from aprqa_ci.certification.steps import run_shard as run_shard
    from aprqa_ci.evidence.reading import read_evidence as read_evidence
    from aprqa_ci.planning.expand import PlanOptions as PlanOptions
    from aprqa_ci.playbook.load import load_playbooks as load_playbooks
    from aprqa_ci.reports.write import write_reports as write_reports
    from aprqa_ci.scoring.evaluate import score_evidence as score_evidence
    from aprqa_ci.scoring.explain import explain as explain
    from aprqa_ci.scoring.policies import load_policy as load_policy

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "certification.bundle",
    "PlanOptions": "planning.expand",
    "Surroundings": "certification.steps",
    "certify": "certification.api",
    "certify_plan": "certification.steps",
    "explain": "scoring.explain",
    "load_playbooks": "playbook.load",
    "load_policy": "scoring.policies",
    "make_plan": "certification.steps",
    "merge_shards": "certification.steps",
    "read_bundle": "certification.bundle",
    "read_evidence": "evidence.reading",
    "read_plan": "certification.bundle",
    "register_bundle": "certification.registering",
    "run_shard": "certification.steps",
    "score_evidence": "scoring.evaluate",
    "write_reports": "reports.write",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - the names are resolved by __getattr__


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
