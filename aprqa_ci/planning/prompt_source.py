"""Which prompts each cell is asked: the playbook's own and the suites', dealt in turn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from itertools import count
from typing import Any

import msgspec

from aprqa_ci.planning.oracle_choice import choose_oracle
from aprqa_ci.planning.oracle_settings import oracle_settings
from aprqa_ci.planning.plan import PromptCase
from aprqa_ci.planning.suites import DrawnPrompt, draw_prompt, load_suites
from aprqa_ci.planning.tiers import Tier
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.vocabulary import Backend, Modality

__all__ = ["PromptSource", "own_case", "quality_gate"]

_OWN_MAX_TOKENS = 64
_LEAST_MAX_TOKENS = 64
"""Talkative models lead up to the answer; one that is cut short before it is not wrong."""
_CODE_STARTS = ("def ", "class ", "fn ", "function ", "async ", "import ")
"""A prompt that starts so is text to be continued, not a question."""
_DRAWN_AT_ONCE = 1 << 14
"""Playbooks with the same seed share their draws; so many are remembered."""
_QUALITY_GATES = {
    (Modality.RUN, Backend.CPU): "F-A1-001",
    (Modality.RUN, Backend.GPU): "F-A2-001",
    (Modality.CHAT, Backend.CPU): "F-A3-001",
    (Modality.CHAT, Backend.GPU): "F-A4-001",
    (Modality.SERVE, Backend.CPU): "F-A5-001",
    (Modality.SERVE, Backend.GPU): "F-A6-001",
}


def quality_gate(modality: Modality, backend: Backend) -> str:
    """Return the gate that an answer counts for where its prompt names none."""
    return _QUALITY_GATES[modality, backend]


def own_case(
    text: str,
    settings: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    seed: int,
    suite: str = "playbook",
    temperature: float = 0.0,
    raw: bool | None = None,
) -> PromptCase:
    """Return a prompt that a playbook's author wrote, with the oracle that can judge it.

    Args:
        text: the prompt.
        settings: the playbook's ``oracles`` as (type, config).
        seed: the playbook's seed.
        suite: where in the playbook it stands.
        temperature: the sampling temperature.
        raw: whether it is text to be continued; absent: it is where it starts like code.
    """
    return PromptCase(
        turns=(text,),
        oracle=choose_oracle(text, settings),
        raw=text.startswith(_CODE_STARTS) if raw is None else raw,
        temperature=temperature,
        suite=suite,
        max_tokens=_OWN_MAX_TOKENS,
        seed=seed,
    )


class PromptSource:
    """Deals prompts to the cells of one playbook, going on where the last cell stopped."""

    def __init__(self, playbook: Playbook, tier: Tier) -> None:
        self._seed = playbook.test_matrix.seed
        self._tier = tier
        declared = list(oracle_settings(playbook).items())
        self._own = [
            own_case(text, declared, seed=self._seed) for text in playbook.test_matrix.prompts or ()
        ]
        self._own_index = count()
        self._slot = count()
        self._indices: dict[str, Iterator[int]] = {}

    def cell_prompts(
        self, modality: Modality, backend: Backend, number: int
    ) -> list[tuple[str, PromptCase]]:
        """Return the next cell's prompts, each with the gate that its answer counts for."""
        quality = quality_gate(modality, backend)
        prompts = []
        for _ in range(number):
            slot = next(self._slot)
            if self._own and slot % 2 == 0:
                prompts.append((quality, self._own[next(self._own_index) % len(self._own)]))
            else:
                names = self._tier.suites
                name = names[slot // (2 if self._own else 1) % len(names)]
                # The tier's first suite stands in for one that has nothing for the modality.
                fitting = name if _has(name, modality) else names[0]
                prompts.append(self._draw(fitting, modality, quality))
        for name, extra in (("edge", self._tier.edge), ("stress", self._tier.stress)):
            prompts += [self._draw(name, modality, quality) for _ in range(extra)]
        return prompts

    def _draw(self, name: str, modality: Modality, quality: str) -> tuple[str, PromptCase]:
        index = next(self._indices.setdefault(name, count()))
        drawn = _drawn(name, index, self._seed, modality)
        return drawn.gate or quality, drawn.case


@cache
def _has(name: str, modality: Modality) -> bool:
    return load_suites()[name].has(modality)


@lru_cache(maxsize=_DRAWN_AT_ONCE)
def _drawn(name: str, index: int, seed: int, modality: Modality) -> DrawnPrompt:
    drawn = draw_prompt(load_suites()[name], index, seed=seed, modality=modality)
    room = max(drawn.case.max_tokens, _LEAST_MAX_TOKENS)
    return replace(drawn, case=msgspec.structs.replace(drawn.case, max_tokens=room))
