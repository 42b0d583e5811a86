"""The page: what stands between two markers is rendered, the rest is written by hand."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from bench.render import tables
from bench.render.lines import Lines
from bench.render.plots import plots
from bench.render.targets import targets

_DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
STORED: Final = _DOCS / "performance.jsonl"
_PAGE: Final = _DOCS / "performance.md"
_PLOTS: Final = _DOCS / "performance"

_SECTIONS: Final[Mapping[str, Callable[[Lines], str]]] = {
    "machine": tables.machine,
    "targets": targets,
    "paced": tables.paced,
    "saturated": tables.saturated,
    "large": tables.large,
    "patterns": tables.patterns,
    "publish": tables.publish,
    "burst": tables.burst,
    "latency": tables.latency,
    "connect": tables.connect,
    "resume": tables.resume,
    "reconnect": tables.reconnect,
    "slow": tables.slow,
    "scale": tables.scale,
}
_MARKED: Final = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def rendered(page: str, lines: Lines) -> str:
    """Return the page with each marked part rendered. KeyError on a marker that nobody knows."""

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}{_SECTIONS[match[2]](lines)}\n{match[3]}"

    return _MARKED.sub(part, page)


def write(stored: Iterable[Mapping[str, Any]]) -> None:
    """Write docs/performance.md and its plots from these lines."""
    lines = Lines(stored)
    _PAGE.write_text(rendered(_PAGE.read_text(), lines))
    _PLOTS.mkdir(exist_ok=True)
    drawn = plots(lines)
    for old in _PLOTS.glob("*.svg"):
        if old.name not in drawn:
            old.unlink()
    for name, text in drawn.items():
        (_PLOTS / name).write_text(text)
