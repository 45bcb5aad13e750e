"""Ranked policies on a terminal: as many tables as its width needs, no number cut off, and how each policy was set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

Names = Sequence[tuple[str, str]]  # of each row its place and its policy, which every table repeats


def ranked_tables(names: Names, columns: Mapping[str, Sequence[str]], settings: Sequence[str], *, width: int) -> Group:
    """The columns, heading -> a text for each row, side by side as far as `width` characters go, then below.

    `settings` has how each row's policy was set.
    """
    parts: list[dict[str, Sequence[str]]] = []
    for heading, cells in columns.items():
        if parts and _width(_table(names, wider := parts[-1] | {heading: cells})) <= width:
            parts[-1] = wider
        else:
            parts.append({heading: cells})
    below = Table.grid(padding=(0, 2))
    for (place, policy), setting in zip(names, settings, strict=True):
        below.add_row(place, policy, Text(setting))
    return Group(*[_table(names, part) for part in parts], below, "")


def _table(names: Names, columns: Mapping[str, Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("", no_wrap=True, min_width=2)
    table.add_column("policy", no_wrap=True, min_width=9)
    for heading in columns:
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for (place, policy), *cells in zip(names, *columns.values(), strict=True):
        table.add_row(place, policy, *map(Text, cells))
    return table


def _width(table: Table) -> int:
    roomy = Console(width=10_000)
    return Measurement.get(roomy, roomy.options, table).maximum
