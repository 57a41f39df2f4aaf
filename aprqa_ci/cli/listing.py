"""Listing what a plan would test."""

from rich.console import Console
from rich.text import Text

from aprqa_ci.plain_text import one_line, shorten
from aprqa_ci.planning.plan import Plan

__all__ = ["list_ids", "list_plan"]

_MOST_PROMPT = 90


def list_plan(out: Console, plan: Plan) -> None:
    """List every scenario with its gate and its prompt, and what is declared and not run."""
    for playbook in plan.playbooks:
        cells = plan.cells_of(playbook.name)
        total = sum(len(cell.scenarios) for cell in cells) + len(playbook.own_gates)
        out.print(
            Text(
                f"{playbook.name}: tier {playbook.tier}, {len(cells)} cells, {total} scenarios"
                f"{', narrowed' if playbook.narrowed else ''}"
            )
        )
        for section in playbook.declared_not_run:
            out.print(Text(f"  declared, not run: {section}"))
        for warning in playbook.warnings:
            out.print(Text(f"  warning: {warning}"))
        for cell in cells:
            for scenario in cell.scenarios:
                line = f"  {scenario.id}"
                if scenario.prompt is not None:
                    asked = shorten(one_line(" / ".join(scenario.prompt.turns)), _MOST_PROMPT)
                    line += f"  {scenario.gate_id}  {asked}"
                out.print(Text(line), soft_wrap=True)
        for gate in playbook.own_gates:
            out.print(Text(f"  {gate.scenario}  {gate.gate_id}  {gate.condition}"), soft_wrap=True)


def list_ids(out: Console, plan: Plan) -> None:
    """List the ids of cells and their scenarios, one a line."""
    for cell in plan.cells:
        out.print(Text(cell.id), soft_wrap=True)
        for scenario in cell.scenarios:
            out.print(Text(f"  {scenario.id}"), soft_wrap=True)
    for playbook in plan.playbooks:
        for gate in playbook.own_gates:
            out.print(Text(gate.scenario), soft_wrap=True)
