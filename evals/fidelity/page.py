"""fidelity.html: one self-contained page, no script and nothing from the network."""

from __future__ import annotations

from html import escape

from evals.fidelity.report import Band, Fidelity, Kind

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}"
    "td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}.bad{color:#b00020}.good{color:#1b6e3c}svg{width:100%;height:auto}"
)
_LEFT, _WIDTH, _ROW, _MOST = 190, 700, 26, 0.5


def page(found: Fidelity) -> str:
    """The page as text."""
    held = f"{len(found.placement)} nodes of {found.held.quota:.2f} cores, held by {found.held.by}"
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>edgewise fidelity</title><style>{_STYLE}</style>",
        "<h1>The twin against the real cluster</h1>",
        f"<p>{escape(held)}; {escape(found.machine.cpu)}, {found.machine.cores} cores. The same prompts at the same "
        "times on both sides; service measured on other prompts.</p>",
        "<h2>Error of the mean latency, twin / real − 1</h2>",
        _plot(found.bands),
        *[_band(band) for band in found.bands],
        *[f"<p class=bad>{escape(note)}</p>" for note in found.notes],
    ]
    return "\n".join(parts) + "</html>\n"


def _plot(bands: tuple[Band, ...]) -> str:
    """A line per model and band: the error and its 95 % interval; the aim shaded."""
    rows = [(band, name, kind) for band in bands for name, kind in [("all", band.all), *band.models.items()]]
    height = _ROW * len(rows) + 30
    drawn = []
    for i, (band, name, kind) in enumerate(rows):
        y = _ROW * i + 20
        e = kind.mean.error
        bold = ' font-weight="600"' if name == "all" else ""
        colour = "#1b6e3c" if abs(e.value) <= band.aim else "#b00020"
        drawn += [
            f'<rect x="{_x(-band.aim):.1f}" y="{y - 12}" width="{_x(band.aim) - _x(-band.aim):.1f}" height="{_ROW}" '
            'fill="#eef4ee"/>',
            f'<text x="0" y="{y + 5}" font-size="13"{bold}>{band.load:.2f} {escape(name)}</text>',
            f'<line x1="{_x(e.low):.1f}" x2="{_x(e.high):.1f}" y1="{y}" y2="{y}" stroke="{colour}"/>',
            f'<circle cx="{_x(e.value):.1f}" cy="{y}" r="4" fill="{colour}"/>',
        ]
    ticks = [
        f'<line x1="{_x(t):.1f}" x2="{_x(t):.1f}" y1="0" y2="{height - 16}" stroke="#bbb" stroke-dasharray="2 3"/>'
        f'<text x="{_x(t):.1f}" y="{height - 2}" font-size="12" text-anchor="middle">{t:+.0%}</text>'
        for t in (-0.4, -0.2, 0.0, 0.2, 0.4)
    ]
    return f'<svg viewBox="0 0 {_LEFT + _WIDTH} {height}" role="img">{"".join(drawn + ticks)}</svg>'


def _x(error: float) -> float:
    clipped = max(-_MOST, min(_MOST, error))
    return _LEFT + _WIDTH * (clipped + _MOST) / (2 * _MOST)


def _band(band: Band) -> str:
    verdict = "good" if band.met else "bad"
    head = (
        f"<h2>Load {band.load:.2f} (asked {band.asked_load:.2f})</h2>"
        f"<p class={verdict}>mean {band.mean_error:+.1%}, aim ±{band.aim:.0%}</p>"
        f"<p>{band.prompts} prompts in {band.duration_s:.0f} s; other work took {band.others_cores:.2f} cores.</p>"
    )
    names = ("mean", "p50", "p95")
    columns = "".join(f"<th>{n} real</th><th>twin</th><th>error</th>" for n in names)
    rows = "".join(_row(name, kind) for name, kind in [("all", band.all), *band.models.items()])
    return f"{head}<table><tr><th></th><th>prompts</th>{columns}</tr>{rows}</table>"


def _row(name: str, kind: Kind) -> str:
    cells = "".join(
        f"<td>{c.real.value:.3f}</td><td>{c.twin.value:.3f}</td>"
        f'<td title="{c.error.low:+.1%} … {c.error.high:+.1%}">{c.error.value:+.1%}</td>'
        for c in (kind.mean, kind.p50, kind.p95)
    )
    return f"<tr><td>{escape(name)}</td><td>{kind.prompts}</td>{cells}</tr>"
