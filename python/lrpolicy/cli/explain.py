"""`lrpolicy explain`: one policy in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from lrpolicy._core import alias_table
from lrpolicy.cli import specs
from lrpolicy.cli.common import console, examples, json_option, names_a_solver, note, print_json, table
from lrpolicy.cli.specs import Named
from lrpolicy.errors import InputError, NotAvailableError
from lrpolicy.policies import (
    ADAPTIVE_PARAMETERS,
    PARAMETERS,
    AdaptiveParameterInfo,
    AdaptivePolicyInfo,
    ParameterInfo,
    PolicyInfo,
    canonical_name,
)
from lrpolicy.stateful import AdaptivePolicy, AnyPolicy
from lrpolicy.stateful.decay import STRATEGIES
from lrpolicy.stateful.tlr import VARIANTS


@click.command(epilog=examples("lrpolicy explain tri2", "lrpolicy explain my_solver.prototxt"))
@click.argument("target", metavar="NAME|SOLVER")
@json_option
def explain(target: str, as_json: bool) -> None:
    """Explain one policy, or the policy of a solver.

    NAME is an lr_policy, the paper's name (TRI2), or an alias (triangular2). SOLVER is a solver prototxt or a set-up
    that lrpolicy ships; its own values are then shown.
    """
    if not names_a_solver(target):
        _, remark = canonical_name(target.partition(":")[0])
        if remark is not None:
            note(remark)
    named = specs.parse(target)
    policy = named.policy
    if as_json:
        print_json(_as_json(policy))
        return
    if isinstance(policy, AdaptivePolicy):
        _print_adaptive_head(policy)
    else:
        _print_head(policy.info)
    rows = [_field_row(policy, field) for field in (*policy.info.parameters, *policy.info.optional)]
    console().print(table(["field", "", "rule", "meaning", "value here"], rows))
    origin = "this solver" if names_a_solver(target) else "an example"
    click.echo(f"In a solver prototxt ({origin}):")
    lines = specs.prototxt(policy)
    if isinstance(policy, AdaptivePolicy) and policy.info.feedback == "test loss":
        lines += f"\ntest_interval: {named.test_interval}"
    click.echo("".join(f"  {line}\n" for line in lines.splitlines()))
    _print_curve(named)


def aliases_of(info: PolicyInfo | AdaptivePolicyInfo) -> list[str]:
    """Other people's names for a policy."""
    return [alias for alias, name, _ in alias_table if name == info.name]


def _print_head(info: PolicyInfo) -> None:
    paper = f" ({info.paper_name} in the LRBench paper)" if info.paper_name else ""
    click.echo(f"{info.name}{paper}: {info.meaning}\n")
    click.echo("  rate(t) = |k0 - k1| * g(t) + min(k0, k1)" + ("" if _has_range(info) else "    with k1 = 0"))
    click.echo(f"  g(t)    = {info.formula}\n")
    _print_facts(
        {
            "family": info.family,
            "period": f"{info.period} iterations" if info.period else "",
            "#Param": info.parameter_count,
            "also read as": ", ".join(aliases_of(info)),
            "note": info.note,
        }
    )


def _print_facts(facts: Mapping[str, str]) -> None:
    for name, text in facts.items():
        if text:
            click.echo(f"  {name:<13}{text}")


def _print_adaptive_head(policy: AdaptivePolicy) -> None:
    info = policy.info
    paper = f" ({info.paper_name}'s paper)" if info.paper_name else ""
    click.echo(f"{info.name}{paper}: {info.meaning}\n")
    click.echo(f"  rate = {info.formula}\n")
    observes = {
        "test loss": "the validation or test loss, after each test pass but the one at iteration 0",
        "training loss": "the smoothed training loss of each iteration, before its update",
        "gradients": "the gradients, or how far the weights move, in windows",
    }[info.feedback]
    _print_facts({"family": info.family, "observes": observes, "#Param": info.parameter_count, "note": info.note})
    tables = {"variant": VARIANTS, "strategy": STRATEGIES}
    for field, choices in tables.items():
        if field in info.optional:
            rows = [[name, formula, meaning] for name, (formula, meaning) in choices.items()]
            console().print(table([field, "formula" if field == "variant" else "advances when", ""], rows))


def _has_range(info: PolicyInfo) -> bool:
    return "max_lr" in info.parameters


def _field_info(policy: AnyPolicy, field: str) -> ParameterInfo | AdaptiveParameterInfo:
    return ADAPTIVE_PARAMETERS[field] if isinstance(policy, AdaptivePolicy) else PARAMETERS[field]


def _field_row(policy: AnyPolicy, field: str) -> list[str]:
    info = _field_info(policy, field)
    default = f", else {info.default}" if isinstance(info, AdaptiveParameterInfo) and info.default else ""
    need = "needed" if field in policy.info.parameters else f"optional{default}"
    value = policy.parameters.get(field)
    shown = "" if value is None else " ".join(map(str, value)) if isinstance(value, tuple) else specs.plain(value)
    symbol = f" ({info.symbol})" if info.symbol else ""
    return [f"{field}{symbol}", need, info.rule, info.meaning, shown]


def _print_curve(named: Named) -> None:
    """The shape in characters where plotext is installed and the rates are known before the training; a page of text
    explains well enough without it.
    """
    from lrpolicy.plots import terminal_plot

    try:
        schedule = named.schedule
    except InputError as error:
        click.echo(f"No curve: {error}")
        return
    try:
        click.echo(
            terminal_plot({f"{named.policy.name}, {named.length} iterations": schedule}, named.length, height=14)
        )
    except NotAvailableError as error:
        note(str(error))


def _as_json(policy: AnyPolicy) -> dict[str, Any]:
    info = policy.info
    fields = [
        {
            "name": field,
            "symbol": _field_info(policy, field).symbol,
            "required": field in info.parameters,
            "rule": _field_info(policy, field).rule,
            "meaning": _field_info(policy, field).meaning,
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
