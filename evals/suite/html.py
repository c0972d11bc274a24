"""Bits of HTML: escaped text, tables, figures that plotly draws in the reader's browser. No URL of any kind."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import orjson
from plotly.offline import get_plotlyjs

from evals.suite.looks import Spec

STYLE = Path(__file__).parent / "style.css"
_CONFIG = {"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "select2d"]}


class Raw(str):
    """Markup that is meant as such; everything else is escaped."""

    __slots__ = ()


def text(value: Any) -> str:
    return value if isinstance(value, Raw) else escape(str(value))


def paragraph(words: str, kind: str = "") -> str:
    return f'<p class="{kind}">{text(words)}</p>' if kind else f"<p>{text(words)}</p>"


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]], kind: str = "", own: str | None = None) -> str:
    """A table that scrolls sideways when it must. A cell is text, Raw, or (class, text). own: first cell of a row to
    set off."""
    head = "".join(f"<th>{text(h)}</th>" for h in headings)
    body = []
    for row in rows:
        mark = ' class="own"' if own is not None and row[0] == own else ""
        body.append(f"<tr{mark}>" + "".join(_cell(c) for c in row) + "</tr>")
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _cell(cell: Any) -> str:
    if isinstance(cell, tuple):
        kind, value = cell
        return f'<td class="{kind}">{text(value)}</td>'
    return f"<td>{text(cell)}</td>"


def figure(name: str, spec: Spec) -> str:
    """A place for a plot and the script that draws it. name: unique in the page."""
    # A "<" in a label could end the script; as an escape it cannot.
    data = orjson.dumps([spec["data"], spec["layout"], _CONFIG]).decode().replace("<", "\\u003c")
    height = spec["layout"]["height"]
    return (
        f'<div class="plot" id="{name}" style="height:{height}px"></div>'
        f"<script>Plotly.newPlot({orjson.dumps(name).decode()}, ...{data});</script>"
    )


def details(title: str, inside: str) -> str:
    return f"<details><summary>{text(title)}</summary>{inside}</details>"


def page(title: str, parts: Sequence[str]) -> str:
    """A whole document: style and plotly inlined once."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE.read_text(encoding='utf-8')}</style><script>{get_plotlyjs()}</script></head><body>{''.join(parts)}</body></html>\n"
    )
