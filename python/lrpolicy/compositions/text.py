"""A chain as a person types it: `warm_up:iterations=500 >> inv:... >> cool_down:iterations=1000,at=9000`."""

from __future__ import annotations

import re
from typing import Any

from lrpolicy.compositions.chain import Chain, cool_down, lasting, warm_up
from lrpolicy.errors import InputError
from lrpolicy.policies import Policy
from lrpolicy.policy_text import assignments, split_text

_RAMPS: dict[str, tuple[Any, dict[str, str]]] = {
    "warm_up": (warm_up, {"iterations": "integer", "start": "real", "shape": "text"}),
    "cool_down": (cool_down, {"iterations": "integer", "at": "integer", "end": "real", "shape": "text"}),
}
_LASTING = re.compile(r"(?P<policy>.+\S)\s+for\s+(?P<iterations>[0-9]+)$")


def parse_chain(text: str) -> Chain:
    """The chain of a text whose parts stand between `>>`.

    A part is a policy's text (see `Policy.parse`), a policy's text and `for N`, its iterations, or `warm_up:` or
    `cool_down:` with the arguments of those functions. Raises InputError, naming the part.
    """
    whole: Any = None
    for part in map(str.strip, text.split(">>")):
        try:
            item = _item(part)
            whole = item if whole is None else whole >> item
        except InputError as error:
            raise error.at(part or text) from None
    if not isinstance(whole, Chain):
        raise InputError(
            "a chain has parts between >>", where=text, remedy="for example  warm_up:iterations=500 >> ..."
        )
    return whole


def _item(part: str) -> Any:
    if not part:
        raise InputError("something stands on either side of >>", got="nothing")
    name, settings = split_text(part)
    if name in _RAMPS:
        make, kinds = _RAMPS[name]
        values = assignments(settings, kinds, where=part)
        if "iterations" not in values:
            raise InputError(f"{name} needs iterations", remedy=f"for example  {name}:iterations=500")
        return make(**values)
    found = _LASTING.fullmatch(part)
    if found:
        return lasting(Policy.parse(found["policy"]), int(found["iterations"]))
    return Policy.parse(part)
