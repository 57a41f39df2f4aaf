"""``aprqa facts``, ``aprqa gates`` and ``aprqa tiers``."""

import click
from rich.text import Text

from aprqa_ci.cli.output import console, write_out
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.gates import canonical_gate_id, foreign_gates, gate_catalogue
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.playbook.conditions.catalogue import fact_catalogue, function_catalogue
from aprqa_ci.wire import near_name, pretty_json

__all__ = ["facts", "gates", "tiers"]

_json_option = click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")


@click.command()
@click.argument("gate_ids", nargs=-1, metavar="[GATE]...")
@_json_option
def gates(*, gate_ids: tuple[str, ...], as_json: bool) -> None:
    """What each gate means, and what to do when it fails."""
    catalogue = gate_catalogue()
    foreign = foreign_gates()
    unknown = [name for name in gate_ids if name not in catalogue and name not in foreign]
    if unknown:
        known = [*catalogue, *foreign]
        raise InputError(
            Problem(what=f"there is no gate {name!r}", hint=near_name(name, known))
            for name in unknown
        )
    wanted = {canonical_gate_id(name) for name in gate_ids}
    chosen = [gate for gate in catalogue.values() if not gate_ids or gate.id in wanted]
    others = [gate for gate in foreign.values() if gate.id in {*gate_ids, *wanted}]
    if as_json:
        write_out(pretty_json([*chosen, *others]).decode())
        return
    out = console()
    for other in others:
        told = f"counts as {other.same_as}" if other.same_as else "counts nowhere"
        out.print(Text(f"{other.id}  of the existing tool; {told}", style="bold"))
        out.print(Text(f"  is about: {other.meaning}"), soft_wrap=True)
    for gate in chosen:
        out.print(Text(f"{gate.id}  {gate.counts_for}  {gate.severity}", style="bold"))
        out.print(Text(f"  holds when: {gate.meaning}"), soft_wrap=True)
        out.print(Text(f"  if not:     {gate.remedy}"), soft_wrap=True)


@click.command()
@_json_option
def tiers(*, as_json: bool) -> None:
    """What each tier tests, and what it can end in."""
    known = list(load_tiers().values())
    if as_json:
        write_out(pretty_json(known).decode())
        return
    out = console()
    for tier in known:
        best = "CERTIFIED" if tier.certifying else "PROVISIONAL at most"
        out.print(Text(f"{tier.name}  {best}", style="bold"))
        backends = ", ".join(tier.backends) if tier.backends else "all declared backends"
        formats = "all declared formats" if tier.formats is None else f"{tier.formats} format(s)"
        out.print(Text(f"  {tier.meaning}"))
        out.print(
            Text(
                f"  at least {tier.minimum_scenarios} scenarios; {backends}; {formats}; "
                f"suites {', '.join(tier.suites)}; {len(tier.checks)} checks per cell at most"
            ),
            soft_wrap=True,
        )


@click.command()
@_json_option
def facts(*, as_json: bool) -> None:
    """What the conditions of a playbook may speak of."""
    known, functions = list(fact_catalogue().values()), list(function_catalogue().values())
    if as_json:
        write_out(pretty_json({"facts": known, "functions": functions}).decode())
        return
    out = console()
    for fact in known:
        needs = f"; needs {', '.join(fact.needs)}" if fact.needs else ""
        offered = "" if fact.offered else "; recorded by nothing here"
        out.print(Text(f"{fact.name}  {fact.type} of a {fact.of}{needs}{offered}", style="bold"))
        out.print(Text(f"  {fact.meaning}"), soft_wrap=True)
    for function in functions:
        takes = ", ".join(function.takes)
        out.print(Text(f"{function.name}({takes})  {function.gives}", style="bold"))
        out.print(Text(f"  {function.meaning}"), soft_wrap=True)
