"""A chain as a person types it: `warm_up:iterations=500 >> inv:... >> cool_down:iterations=1000,at=9000`."""

from __future__ import annotations

import re
from typing import Any

from lrpolicy.compositions.chain import Chain, CoolDown, WarmUp, as_chain, cool_down, lasting, warm_up
from lrpolicy.compositions.ramp import Ramp
from lrpolicy.errors import InputError
from lrpolicy.policies import ADAPTIVE_POLICIES, Policy, canonical_name
from lrpolicy.policy_text import assignments, split_text

# What each makes, the kinds of its arguments, and an example with those that it needs.
_JOINTS: dict[str, tuple[Any, dict[str, str], str]] = {
    "warm_up": (warm_up, {"iterations": "integer", "start": "real", "shape": "text"}, "iterations=500"),
    "cool_down": (
        cool_down,
        {"iterations": "integer", "at": "integer", "end": "real", "shape": "text"},
        "iterations=500",
    ),
    "ramp": (
        Ramp,
        {"start": "real", "end": "real", "iterations": "integer", "shape": "text"},
        "start=0,end=0.1,iterations=500",
    ),
}
_LASTING = re.compile(r"(?P<schedule>.+\S)\s+for\s+(?P<iterations>[0-9]+)")


def is_chain(text: str) -> bool:
    """Whether a text is a chain's and not a policy's: it has >>, begins with a ramp's name, or says how long."""
    return ">>" in text or split_text(text)[0] in _JOINTS or _LASTING.fullmatch(text.strip()) is not None


def parse_chain(text: str) -> Chain:
    """The chain of a text whose parts stand between `>>`; `Chain.to_text` writes such texts.

    A part is a policy's text (see `Policy.parse`), or `ramp:` with the arguments of `Ramp`, either with `for N`, its
    iterations, behind it; or `warm_up:` or `cool_down:` with the arguments of those functions. Raises InputError,
    naming the part.
    """
    whole: Any = None
    for part in map(str.strip, text.split(">>")):
        try:
            item = _item(part)
            whole = item if whole is None else whole >> item
        except InputError as error:
            raise error.at(part or text) from None
    if isinstance(whole, WarmUp | CoolDown):
        remedy = "for example  warm_up:iterations=500 >> fixed:base_lr=0.1"
        raise InputError("a ramp leads to or from a policy's rate", where=text, got="no policy", remedy=remedy)
    return as_chain(whole)


def _item(part: str) -> Any:
    if not part:
        raise InputError("something stands on either side of >>", got="nothing")
    found = _LASTING.fullmatch(part)
    if found and split_text(part)[0] not in ("warm_up", "cool_down"):
        return lasting(_schedule(found["schedule"]), int(found["iterations"]))
    return _schedule(part)


def _schedule(text: str) -> Any:
    name, settings = split_text(text)
    if name in _JOINTS:
        make, kinds, example = _JOINTS[name]
        values = assignments(settings, kinds, where=text)
        for needed in split_text(f":{example}")[1]:
            if (key := needed.partition("=")[0]) not in values:
                raise InputError(f"{name} needs {key}", remedy=f"for example  {name}:{example}")
        return make(**values)
    if canonical_name(name)[0] in ADAPTIVE_POLICIES:
        rule = f'"{name}" observes the training: its rates are no function of the iteration'
        raise InputError(rule, remedy="use it alone, not in a chain")
    return Policy.parse(text)
