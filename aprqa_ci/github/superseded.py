"""Which open certification pull requests are superseded: a pure decision over plain values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aprqa_ci.github.certified import BRANCH_PREFIX, Certified
from aprqa_ci.markdown import Inline, code_span, escape_text, join
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.registry.better_evidence import Standing, why_behind
from aprqa_ci.scoring.runs import instant

__all__ = ["Superseded", "why_superseded"]


@dataclass(frozen=True, kw_only=True)
class Superseded:
    """That a pull request is superseded."""

    by: str
    """The branch of the successor; empty where it is what stands on the base."""
    reason: Inline


def why_superseded(
    old: Certified,
    *,
    aimed_at: str,
    base: str,
    rows: Mapping[str, Mapping[str, str]],
    successors: Iterable[Certified],
    playbook_is_gone: bool,
) -> Superseded | None:
    """Return why an open certification is superseded; nothing when it is not. Pure.

    Args:
        old: what the open pull request certifies.
        aimed_at: the branch that it is for now, which need not be the one it was opened for.
        base: the branch that certifications are proposed for now.
        rows: the registry's rows on that branch, by model.
        successors: what the pull requests certify that are there now.
        playbook_is_gone: whether the playbook's file was there at the pull request's commit and
            no longer is on the base.
    """
    mine = [new for new in successors if new.playbook == old.playbook and new.base == base]
    if aimed_at != base:
        # One that a person has aimed at another branch is that person's.
        if mine and aimed_at == old.base:
            reason = join(" ", ["certifications are now proposed for", code_span(base)])
            return Superseded(by=BRANCH_PREFIX + old.playbook, reason=reason)
        return None
    if mine:
        return None
    standing = Standing(certificate=None, row=rows.get(old.model))
    if behind := why_behind(old.tier, old.finished, standing):
        return Superseded(by="", reason=escape_text(behind))
    tiers = list(load_tiers())
    for new in successors:
        is_newer = instant(new.finished) > instant(old.finished)
        reaches = tiers.index(new.tier) >= tiers.index(old.tier)
        if playbook_is_gone and new.model == old.model and is_newer and reaches:
            playbook = join(" ", ["its playbook", code_span(old.path)])
            gone = join(" is gone from ", [playbook, code_span(base)])
            return Superseded(by=BRANCH_PREFIX + new.playbook, reason=gone)
    return None
