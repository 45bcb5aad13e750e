"""`lrpolicy policies`: the policy table as it is compiled in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import click

from lrpolicy.cli.common import console, examples, json_option, print_json, table, unknown
from lrpolicy.policies import ADAPTIVE_POLICIES, POLICIES, AdaptivePolicyInfo, PolicyInfo

INFOS: tuple[PolicyInfo | AdaptivePolicyInfo, ...] = (*POLICIES.values(), *ADAPTIVE_POLICIES.values())
FAMILIES = tuple(dict.fromkeys(info.family for info in INFOS))


@click.command(epilog=examples("lrpolicy policies", "lrpolicy policies cyclic", "lrpolicy policies --json"))
@click.argument("family", required=False)
@json_option
def policies(family: str | None, as_json: bool) -> None:
    """List every policy with its formula and fields.

    The rate at iteration t (t = updates done) is |k0 - k1| * g(t) + min(k0, k1); decaying policies have k1 = 0.
    Adaptive policies observe the training; their formula is the rate itself. FAMILY keeps one family: fixed, decaying,
    cyclic, extra (Caffe's sigmoid) or adaptive.
    """
    if family is not None and family not in FAMILIES:
        raise unknown("family", family, FAMILIES)
    chosen = [info for info in INFOS if family in (None, info.family)]
    if as_json:
        print_json([asdict(info) | {"family": info.family, "period": info.period} for info in chosen])
    else:
        console().print(table(["lr_policy", "paper", "family", "g(t), or the rate", "fields", "#Param"], _rows(chosen)))


def _rows(chosen: Iterable[PolicyInfo | AdaptivePolicyInfo]) -> list[list[str]]:
    return [
        [info.name, info.paper_name, info.family, info.formula, " ".join(info.parameters), info.parameter_count]
        for info in chosen
    ]
