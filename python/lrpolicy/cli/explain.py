"""`lrpolicy explain`: one policy in full."""

from __future__ import annotations

from typing import Any

import click

from lrpolicy._core import alias_table
from lrpolicy.cli import specs
from lrpolicy.cli.common import console, examples, json_option, names_a_solver, note, print_json, table
from lrpolicy.errors import NotAvailableError
from lrpolicy.policies import PARAMETERS, Policy, PolicyInfo, canonical_name

_LEAST = {"real": "a number", "integer": "whole", "integers": "whole, repeated"}


@click.command(epilog=examples("lrpolicy explain tri2", "lrpolicy explain my_solver.prototxt"))
@click.argument("target", metavar="NAME|SOLVER")
@json_option
def explain(target: str, as_json: bool) -> None:
    """Explain one policy, or the policy of a solver.

    NAME is an lr_policy, the paper's name (TRI2), or an alias (triangular2). SOLVER is a solver prototxt or a set-up
    that lrpolicy ships; its own values are then shown.
    """
    if not names_a_solver(target):
        _, remark = canonical_name(target)
        if remark is not None:
            note(remark)
    named = specs.parse(target)
    policy = named.policy
    if as_json:
        print_json(_as_json(policy))
        return
    _print_head(policy.info)
    rows = [_field_row(policy, field) for field in (*policy.info.parameters, *policy.info.optional)]
    console().print(table(["field", "", "rule", "meaning", "value here"], rows))
    origin = "this solver" if names_a_solver(target) else "an example"
    click.echo(f"In a solver prototxt ({origin}):")
    click.echo("".join(f"  {line}\n" for line in specs.prototxt(policy).splitlines()))
    _print_curve(policy, named.length)


def aliases_of(info: PolicyInfo) -> list[str]:
    """Other people's names for a policy."""
    return [alias for alias, name, _ in alias_table if name == info.name]


def _print_head(info: PolicyInfo) -> None:
    paper = f" ({info.paper_name} in the LRBench paper)" if info.paper_name else ""
    click.echo(f"{info.name}{paper}: {info.meaning}\n")
    click.echo("  rate(t) = |k0 - k1| * g(t) + min(k0, k1)" + ("" if _has_range(info) else "    with k1 = 0"))
    click.echo(f"  g(t)    = {info.formula}\n")
    facts = {
        "family": info.family,
        "period": f"{info.period} iterations" if info.period else "",
        "#Param": info.parameter_count,
        "also read as": ", ".join(aliases_of(info)),
        "note": info.note,
    }
    for name, text in facts.items():
        if text:
            click.echo(f"  {name:<13}{text}")


def _has_range(info: PolicyInfo) -> bool:
    return "max_lr" in info.parameters


def _rule(field: str) -> str:
    info = PARAMETERS[field]
    return f"{_LEAST[info.kind]} >= {info.least}"


def _field_row(policy: Policy, field: str) -> list[str]:
    info = PARAMETERS[field]
    need = "needed" if field in policy.info.parameters else "optional"
    value = policy.parameters.get(field)
    shown = "" if value is None else " ".join(map(str, value)) if isinstance(value, tuple) else f"{value:g}"
    return [f"{field} ({info.symbol})", need, _rule(field), info.meaning, shown]


def _print_curve(policy: Policy, length: int) -> None:
    """The shape in characters where plotext is installed; a page of text explains well enough without it."""
    from lrpolicy.plots import terminal_plot

    try:
        click.echo(terminal_plot({f"{policy.name}, {length} iterations": policy}, length, height=14))
    except NotAvailableError as error:
        note(str(error))


def _as_json(policy: Policy) -> dict[str, Any]:
    info = policy.info
    fields = [
        {
            "name": field,
            "symbol": PARAMETERS[field].symbol,
            "required": field in info.parameters,
            "rule": _rule(field),
            "meaning": PARAMETERS[field].meaning,
        }
        for field in (*info.parameters, *info.optional)
    ]
    return {
        "name": info.name,
        "paper_name": info.paper_name,
        "family": info.family,
        "meaning": info.meaning,
        "formula": info.formula,
        "period": info.period,
        "parameter_count": info.parameter_count,
        "note": info.note,
        "aliases": aliases_of(info),
        "fields": fields,
        "policy": policy.to_dict(),
        "prototxt": specs.prototxt(policy),
    }
