"""Settings as a person types them, `key=value`, and as values of their tables' kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lrpolicy.errors import InputError, did_you_mean


def split_text(text: str) -> tuple[str, list[str]]:
    """The name and the `key=value` parts of a text like `tri2:max_lr=0.06,stepsize=2000`."""
    name, _, settings = text.partition(":")
    return name.strip(), [part for part in settings.split(",") if part.strip()]


def assignments(parts: Iterable[str], kinds: Mapping[str, str], *, where: str) -> dict[str, Any]:
    """`key=value` texts as values of the given kinds; a list's key is repeated, as in a prototxt.

    `kinds` says of each known key "real", "integer", "integers", "text" or "flag". Raises InputError, with `where`, for
    a part that is none, an unknown key, a value of another kind and a single value given twice.
    """
    values: dict[str, Any] = {}
    for part in parts:
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals or not text:
            raise InputError(
                "a setting reads key=value", where=where, got=f'"{part}"', remedy="for example stepsize=2000"
            )
        if key not in kinds:
            raise InputError(f'parameter "{key}" is unknown', where=where, remedy=did_you_mean(key, kinds))
        value = _value(key, kinds[key], text, where)
        if kinds[key] == "integers":
            values[key] = (*values.get(key, ()), value)
        elif key in values:
            got = f"{values[key]} and {text}"
            raise InputError(f"{key} is given twice", where=where, got=got, remedy="leave one out")
        else:
            values[key] = value
    return values


def written(name: str, parameters: Mapping[str, Any]) -> str:
    """The text that reads as this name and these values, to the bit."""
    parts = [
        f"{key}={str(item).lower() if isinstance(item, bool) else item}"
        for key, value in parameters.items()
        for item in (value if isinstance(value, tuple) else (value,))
    ]
    return f"{name}:{','.join(parts)}" if parts else name


def _value(key: str, kind: str, text: str, where: str) -> float | int | str | bool:
    if kind == "text":
        return text
    if kind == "flag":
        if text not in ("true", "false"):
            raise InputError(f"{key} must be true or false", where=where, got=f'"{text}"')
        return text == "true"
    try:
        return float(text) if kind == "real" else int(text)
    except ValueError:
        wanted = "a number" if kind == "real" else "a whole number"
        raise InputError(f"{key} must be {wanted}", where=where, got=f'"{text}"') from None
