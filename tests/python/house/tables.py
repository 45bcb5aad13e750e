"""The tables of the README files, made from what they describe. `make readme` writes them; a test compares them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import click
from test_floors import ADAPTERS, PACKAGE, PYTHON_FLOORS, ROOT, is_within, module_name, python_floor, sources

from lrpolicy.cli import COMMANDS, lrpolicy
from lrpolicy.policies import ADAPTIVE_POLICIES, POLICIES

FLOOR_TITLES = (
    "T0 the compiled core",
    "T1 values and arithmetic (NumPy at most)",
    "T2 files: prototxt, nets, data, snapshots (protobuf only here)",
    "T3 protocols",
    "T4 engines, executors, database",
    "T5 the method",
    "T6 what a person sees",
)


def command(name: str) -> click.Command:
    """A registered command, its module imported."""
    found = lrpolicy.get_command(click.Context(lrpolicy), name)
    assert found is not None
    return found


def commands() -> dict[str, click.Command]:
    """Every command that does something, by the words that call it: "plot", "data info"."""
    found: dict[str, click.Command] = {}
    for name in COMMANDS:
        top = command(name)
        inner = top.commands if isinstance(top, click.Group) else {}
        found |= {f"{name} {word}": leaf for word, leaf in inner.items()} or {name: top}
    return found


def options(leaf: click.Command) -> list[str]:
    """The options of a command as a person writes them, the longest spelling of each."""
    parameters = [p for p in leaf.params if isinstance(p, click.Option)]
    return [max((*p.opts, *p.secondary_opts), key=len) for p in parameters]


def usage(leaf: click.Command) -> str:
    """The arguments of a command as its usage line shows them."""
    return " ".join(piece for piece in leaf.collect_usage_pieces(click.Context(leaf)) if piece != "[OPTIONS]")


def summary(leaf: click.Command) -> str:
    """The first line of a command's help."""
    return (leaf.help or "").partition("\n")[0]


def code(words: list[str]) -> str:
    return " ".join(f"`{word}`" for word in words)


def policy_table() -> str:
    rows = [
        f"| `{info.name}` | {info.paper_name} | {info.family} | `{info.formula}` "
        f"| {code(list(info.parameters))} | {info.parameter_count} |"
        for info in (*POLICIES.values(), *ADAPTIVE_POLICIES.values())
    ]
    head = [
        "| `lr_policy` | paper | family | g(t), adaptive: the rate | fields | #Param |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


def command_table() -> str:
    rows = []
    for words, leaf in commands().items():
        call = f"lrpolicy {words} {usage(leaf)}".strip().replace("|", "\\|")
        rows.append(f"| `{call}` | {summary(leaf)} | {code(options(leaf))} |")
    return "\n".join(["| command | what it does | options |", "|---|---|---|", *rows])


def floor_table() -> str:
    """Every module under the title of its floor, with the first sentence of its own docstring."""
    floors: dict[str, list[str]] = {title: [] for title in reversed(FLOOR_TITLES)}
    adapters = []
    for path in sources():
        line = f"- `{path.relative_to(PACKAGE)}`: {first_sentence(path)}"
        module = module_name(path)
        (adapters if is_within(module, ADAPTERS) else floors[FLOOR_TITLES[python_floor(module)]]).append(line)
    floors["Adapters for other frameworks (they stand on T1)"] = adapters
    floors[FLOOR_TITLES[0]].append("- `_core`: the policy table, the rates and the kernels, compiled from `csrc/`.")
    return "\n\n".join("\n".join([f"**{title}**", "", *lines]) for title, lines in floors.items() if lines)


def first_sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph)[0]


TABLES: dict[str, tuple[Path, Callable[[], str]]] = {
    "policies": (ROOT / "README.md", policy_table),
    "commands": (ROOT / "README.md", command_table),
    "floors": (ROOT / "python" / "README.md", floor_table),
}
assert len(FLOOR_TITLES) == len(PYTHON_FLOORS)


def marked(name: str) -> re.Pattern[str]:
    """Finds the table between its two marks."""
    return re.compile(rf"(?s)(<!-- table: {name} -->\n).*?(<!-- end of table -->)")


def with_fresh_tables(path: Path) -> str:
    """The file's text with each of its tables made anew."""
    text = path.read_text()
    for name, (home, make) in TABLES.items():
        if home == path:
            table = make()
            text, count = marked(name).subn(lambda match, table=table: match[1] + table + "\n" + match[2], text)
            assert count == 1, f"{path} has no place for the table of {name}"
    return text


if __name__ == "__main__":
    for file in {home for home, _ in TABLES.values()}:
        file.write_text(with_fresh_tables(file))
