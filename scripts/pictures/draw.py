"""Write the pictures of the documentation that are drawn from the code into ``docs/images``.

``--check`` writes nothing and exits with 1 where a picture differs.

python -m scripts.pictures.draw [--check] (``make pictures``, ``make docs``)
"""

from __future__ import annotations

import io
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from click.testing import CliRunner
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from flowverdict_cli.commands import cli
from scripts.generated import write_or_check
from scripts.pictures.alerts import draw_day, draw_life
from scripts.pictures.stack import draw
from scripts.pictures.svg import Box, Picture
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = ROOT / "docs" / "images"
# The second command of the README; a test holds it there.
SHOWN: Final = (
    "flowverdict explain --rules tests/scenarios/shop.config.json "
    "tests/scenarios/rules-inbound-request.log"
)
# Rich's own format loads a font from another host, which this one does not.
_COLUMNS: Final = 106
# The recording: the command, and after a moment its answer, line by line. It stays as it is then.
_UNTIL_ANSWER: Final = 1.0  # seconds
_FOR_A_LINE: Final = 0.15
_RECORDING: Final = """@keyframes shown {{ from {{ opacity: 0 }} to {{ opacity: 1 }} }}
@media (prefers-reduced-motion: no-preference) {{
{lines}
}}
"""
_TERMINAL: Final = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" \
xmlns="http://www.w3.org/2000/svg" role="img" aria-label="The answer of flowverdict explain">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; \
font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
_JOB: Final = re.compile(
    r"^\| `(?:\.\.\.|layers/shared/flowverdict)/(\w+)/` \| ([^|:;(]+)", re.MULTILINE
)


def pictures() -> Iterator[tuple[Path, str]]:
    """Yield each picture's file and its text."""
    yield IMAGES / "architecture.svg", str(draw(read_template(ROOT / "template.yaml")))
    yield IMAGES / "alert-life.svg", str(draw_life())
    day = (ROOT / "tests" / "golden" / "a-day.txt").read_text().splitlines()
    yield IMAGES / "a-day.svg", str(draw_day(day))
    yield IMAGES / "record.svg", str(_record())
    yield IMAGES / "terminal.svg", _terminal()


def _terminal() -> str:
    """Return a recording of the README's command in a terminal."""
    words = [str(ROOT / word) if "/" in word else word for word in SHOWN.split()[1:]]
    printed = CliRunner().invoke(cli, words, color=True, env={"COLUMNS": "100"})
    if printed.exit_code != 0:
        raise ValueError(printed.output)
    lines = [
        line[start : start + _COLUMNS]
        for line in [f"$ {SHOWN}", *Text.from_ansi(printed.stdout.rstrip()).plain.split("\n")]
        for start in range(0, max(1, len(line)), _COLUMNS)
    ]
    lines.append("")  # else the lower edge cuts the last line
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    for number, line in enumerate(lines):
        style = "bold" if number == 0 or re.match(r"[A-Z]+ {2,}", line) else ""
        console.print(Text(line, style=style))
    text = console.export_svg(
        title="flowverdict explain",
        theme=MONOKAI,
        code_format=_TERMINAL,
        unique_id="terminal",
    )
    typed = -(-len(f"$ {SHOWN}") // _COLUMNS)
    shown = "\n".join(
        f'text[clip-path="url(#terminal-line-{line})"] {{ animation: shown 0.1s'
        f" {_UNTIL_ANSWER + _FOR_A_LINE * (line - typed):.2f}s both }}"
        for line in range(typed, len(lines))
    )
    text = text.replace("</style>", f"{_RECORDING.format(lines=shown)}</style>", 1)
    return re.sub(r" +$", "", text, flags=re.MULTILINE)


def _record() -> Picture:
    """Draw the packages in the order in which data passes them, with the job of each."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = next(
        contract
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    jobs = dict(_JOB.findall((ROOT / "CONTRIBUTING.md").read_text()))
    rows = [[name.strip() for name in row.split("|")] for row in reversed(contract["layers"])]
    rows = [row for row in rows if row not in (["core"], ["app"])]
    picture = Picture(
        width=870, height=30 + 76 * len(rows) + 76, about="The way of a record through the packages"
    )
    steps = [["record"], *rows]
    above: list[Box] = []
    for number, names in enumerate(steps):
        y = 36 + 76 * number
        boxes = [
            Box(
                x=435 + (place - (len(names) - 1) / 2) * 285,
                y=y,
                width=270 if len(names) > 1 else 560,
                kind="outside" if name == "record" else "work",
                title=name if name != "record" else "a flow log file, or a batch of log events",
                caption=_short(jobs.get(name, "a line for each 5-tuple and interval"), len(names)),
            )
            for place, name in enumerate(names)
        ]
        for box in boxes:
            for before in above:
                picture.down(before.bottom, box.top)
            picture.box(box)
        above = boxes
    return picture


def _short(text: str, beside: int) -> str:
    limit = 92 if beside == 1 else 46
    text = re.sub(r"[`*]", "", text).strip()
    return text if len(text) <= limit else f"{text[: limit - 1].rstrip()}…"


if __name__ == "__main__":
    sys.exit(write_or_check(pictures(), "pictures", sys.argv[1:]))
