"""HTML from plain functions. `Html` is text that is safe to write; a plain `str` is escaped on its way in."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

# Control characters, and format characters such as those that turn the reading direction.
_HIDDEN = ("Cc", "Cf", "Cs")


class Html(str):
    """A piece of HTML, whole and escaped."""

    __slots__ = ()


def text(value: object) -> Html:
    """The value as HTML: itself if it is Html, else escaped, with what nobody can see replaced by U+FFFD."""
    if isinstance(value, Html):
        return value
    shown = "".join(c if c == "\n" or unicodedata.category(c) not in _HIDDEN else "\ufffd" for c in str(value))
    return Html(html.escape(shown))


def element(tag: str, *content: object, **attributes: str) -> Html:
    """<tag attributes>content</tag>; a trailing underscore in an attribute's name falls off (class_)."""
    written = "".join(f' {name.rstrip("_").replace("_", "-")}="{text(value)}"' for name, value in attributes.items())
    return Html(f"<{tag}{written}>{joined(content)}</{tag}>")


def joined(pieces: Iterable[object]) -> Html:
    """The pieces one after the other."""
    return Html("".join(map(text, pieces)))


def table(columns: Mapping[str, Sequence[object]], *, words: Iterable[str] = ()) -> Html:
    """A table of columns of equal length, which scrolls by itself where it is too wide.

    Columns named in `words` hold text and stand left, the others numbers. The first cell of a row is its heading.
    """
    kinds = {heading: "word" if heading in words else "number" for heading in columns}
    head = [element("th", heading, class_=kinds[heading], scope="col") for heading in columns]
    rows = []
    for cells in zip(*columns.values(), strict=True):
        tags = ["th", *["td"] * (len(cells) - 1)]
        rows.append(
            element(
                "tr",
                *(element(tag, cell, class_=kind) for tag, cell, kind in zip(tags, cells, kinds.values(), strict=True)),
            )
        )
    whole = element("table", element("thead", element("tr", *head)), element("tbody", *rows))
    return element("div", whole, class_="wide", tabindex="0")


def facts(pairs: Mapping[str, object]) -> Html:
    """A list of names and what they are; empty values are left out."""
    shown = {name: value for name, value in pairs.items() if value not in ("", None)}
    return element("dl", *(joined((element("dt", name), element("dd", value))) for name, value in shown.items()))


def figure(svg: Html, caption: str) -> Html:
    """A picture with its caption; the caption is also what a reader hears who does not see it."""
    picture = element("div", svg, class_="picture", role="img", aria_label=caption, tabindex="0")
    return element("figure", picture, element("figcaption", caption))


def code(source: str) -> Html:
    """Source to paste; one click selects it all."""
    return element("pre", element("code", source), tabindex="0")
