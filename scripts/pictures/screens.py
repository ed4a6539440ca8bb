"""Draw the pictures of ``docs/images/`` from the golden files: Slack, mail and the page.

``make pictures`` runs this; it needs Chromium. Slack's look is drawn by a template of our own, from
the blocks of the golden file: it shows what is on which screen, not each detail of Slack's design.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
IMAGES = ROOT / "docs" / "images"
SCENARIOS = ROOT / "tests" / "scenarios"
MOST_BYTES = 160_000
PHONE_SCREEN = 700  # points of a telephone's screen below Slack's own bars

_STYLE = """
:root { --back: #fff; --text: #1d1c1d; --quiet: #616061; --edge: #d1d1d1; --code: #f6f6f6;
  --link: #1264a3; --badge: #e8e8e8 }
.dark { --back: #1a1d21; --text: #d1d2d3; --quiet: #9a9b9d; --edge: #4a4c50; --code: #222529;
  --link: #4aa3df; --badge: #35373b }
* { box-sizing: border-box }
html { background: #8a8f98 }
body { margin: 0; overflow: hidden; padding: 16px;
  font: 15px/1.47 "Noto Sans", "DejaVu Sans", sans-serif }
.screen { background: var(--back); color: var(--text); padding: 16px; border-radius: 12px;
  position: relative; overflow: hidden; margin: 0 auto }
.from { font-weight: 700 } .from span { font-weight: 400; color: var(--quiet); font-size: 12px }
.app { background: var(--badge); font-size: 10px; padding: 1px 3px; border-radius: 2px }
h1 { font-size: 18px; line-height: 1.33; margin: 6px 0 8px }
p { margin: 0 0 8px; overflow-wrap: anywhere }
pre { font: 12px/1.5 "DejaVu Sans Mono", monospace; background: var(--code); padding: 8px;
  border: 1px solid var(--edge); border-radius: 4px; margin: 0 0 8px; white-space: pre-wrap;
  overflow-wrap: anywhere }
.context { color: var(--quiet); font-size: 12.5px }
a { color: var(--link); text-decoration: none }
i { display: inline-block; width: 13px; height: 13px; border-radius: 50% }
code { font: 12px "DejaVu Sans Mono", monospace }
.bar { border-left: 4px solid; border-radius: 4px; padding: 2px 0 1px 12px; margin-bottom: 4px }
.fold { position: absolute; left: 0; right: 0; border-top: 2px dashed #e01e5a }
.top { border-bottom: 1px solid var(--edge); margin: 0 -16px 12px; padding: 0 16px 10px;
  color: var(--quiet) } .top b { color: var(--text); margin-right: 6px }
.count { color: var(--quiet); font-size: 12.5px; display: flex; align-items: center; gap: 8px }
.count::after { content: ""; flex: 1; border-top: 1px solid var(--edge) }
.reply { margin-top: 12px }
.mail { font: 13px/1.5 "DejaVu Sans Mono", monospace; white-space: pre-wrap;
  overflow-wrap: anywhere }
.mail h1 { font: 700 17px/1.4 "Noto Sans", "DejaVu Sans", sans-serif }
"""
# Signs that a machine may have no letters for.
_SIGNS = {"\N{LARGE RED CIRCLE}": "#d62728", "\N{WHITE HEAVY CHECK MARK}": "#2eb67d"}
_FROM = "<div class=from>flowverdict <span class=app>APP</span> <span>{}</span></div>"
_ALSO = "<p class=context>replied to the thread, and sent to the channel</p>"
_MEASURE = "<script>document.title = document.documentElement.scrollHeight</script>"


def marked(text: str) -> str:
    """Return HTML of Slack's mark-up; the renderer has escaped what is no mark-up."""
    text = re.sub(r"<!date\^\d+\^[^|]*\|([^>]*) UTC>", r"\1", text)
    text = re.sub(r"<(https://[^|>]*)\|([^>]*)>", r'<a href="\1">\2</a>', text)
    text = re.sub(r"(?m)^\*([^*\n]+)\*", r"<b>\1</b>", text)
    text = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", text)
    return text.replace("\n", "<br>")


def slack_block(block: dict[str, Any]) -> str:
    """Return HTML of one block."""
    match block["type"]:
        case "header":
            text = html.escape(block["text"]["text"])
            for sign, color in _SIGNS.items():
                text = text.replace(sign, f"<i style='background:{color}'></i>")
            return f"<h1>{text}</h1>"
        case "section":
            return f"<p>{marked(block['text']['text'])}</p>"
        case "context":
            texts = "<br>".join(marked(one["text"]) for one in block["elements"])
            return f"<p class=context>{texts}</p>"
        case "rich_text":
            return f"<pre>{html.escape(block['elements'][0]['elements'][0]['text'])}</pre>"
        case other:
            raise ValueError(f"a block of type {other} has no picture")


def slack_message(message: dict[str, Any]) -> str:
    """Return HTML of a message: blocks, then attachments, each behind its bar."""
    bars = (
        f"<div class=bar style='border-color:{attachment['color']}'>"
        f"{''.join(map(slack_block, attachment['blocks']))}</div>"
        for attachment in message["attachments"]
    )
    return "".join([*map(slack_block, message["blocks"]), *bars])


def slack(name: str, width: int, *, dark: bool, fold: bool) -> str:
    """Return a page with a golden message; ``fold`` draws where a telephone's screen ends."""
    message = slack_message(json.loads((GOLDEN / f"slack-{name}.json").read_text()))
    lines = "".join(f"<div class=fold style='top:{PHONE_SCREEN * n}px'></div>" for n in (1, 2))
    return (
        f"<div class='screen{' dark' if dark else ''}' style='width:{width}px'>"
        f"{_FROM.format('12:08')}{message}{lines if fold else ''}</div>"
    )


def thread(width: int) -> str:
    """Return a page with the golden thread of a problem, as Slack shows it on a telephone."""
    first, *replies = json.loads((GOLDEN / "slack-thread.json").read_text())
    shown = "".join(
        f"<div class=reply>{_FROM.format(reply['at'])}"
        f"{_ALSO if reply['is_in_channel'] else ''}{slack_message(reply)}</div>"
        for reply in replies
    )
    return (
        f"<div class=screen style='width:{width}px'><div class=top><b>Thread</b> #network</div>"
        f"{_FROM.format(first['at'])}{slack_message(first)}"
        f"<div class=count>{len(replies)} replies</div>{shown}</div>"
    )


def mail(name: str, width: int) -> str:
    """Return a page with a golden mail; its first line is the subject."""
    subject, _, text = (GOLDEN / f"email-{name}.txt").read_text().partition("\n\n")
    return (
        f"<div class='screen mail' style='width:{width}px'><h1>{html.escape(subject)}</h1>"
        f"{html.escape(text)}</div>"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Headless Chromium, and a folder for what it needs."""

    chromium: str
    folder: Path

    def run(self, *options: str) -> str:
        """Run Chromium and return what it prints."""
        command = [
            self.chromium,
            "--headless=new",
            "--no-sandbox",  # root has no sandbox
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-lcd-text",  # colored edges of letters would double the size of a picture
            f"--user-data-dir={self.folder / 'profile'}",
            *options,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603 - what was found on the path
        return done.stdout

    def draw(self, name: str, body: str, width: int, most: int = 2_000) -> None:
        """Draw a body of HTML as ``docs/images/NAME.png``, as high as it is, but not above most."""
        page = self.folder / f"{name}.html"
        page.write_text(
            f"<!doctype html><meta charset=utf-8><style>{_STYLE}</style>{body}{_MEASURE}"
        )
        told = self.run(f"--window-size={width},400", "--dump-dom", page.as_uri())
        height = re.search(r"<title>(\d+)</title>", told)
        if height is None:
            raise ValueError(f"{name}: Chromium measured nothing")
        self.shoot(name, page, f"{width},{min(int(height[1]), most)}")

    def shoot(self, name: str, page: Path, size: str, *options: str) -> None:
        """Save what a window of a size shows of a page."""
        picture = IMAGES / f"{name}.png"
        self.run(f"--window-size={size}", f"--screenshot={picture}", *options, page.as_uri())
        taken = picture.stat().st_size
        sys.stdout.write(f"{picture.relative_to(ROOT)}: {taken:,} bytes\n")
        if taken > MOST_BYTES:
            raise ValueError(f"{picture}: more than {MOST_BYTES:,} bytes")


def report(path: Path) -> None:
    """Write the page that ``flowverdict report`` makes of the sample shop's scenarios."""
    logs = sorted(SCENARIOS.glob("rules-*.log"))
    command = Path(sys.executable).with_name("flowverdict")
    arguments = ["--rules", str(SCENARIOS / "shop.config.json"), *map(str, logs)]
    subprocess.run([str(command), "report", "-o", str(path), *arguments], check=True)  # noqa: S603 - our own command


def main() -> None:
    """Draw all pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Chromium is needed: apt-get install chromium")
    IMAGES.mkdir(exist_ok=True)
    name = "critical"
    with tempfile.TemporaryDirectory() as made:
        camera = Camera(chromium=chromium, folder=Path(made))
        for ending, dark in (("", False), ("-dark", True)):
            message = slack(name, 760, dark=dark, fold=False)
            camera.draw(f"slack-desktop{ending}", message, 792)
            # Chromium's narrowest window is 500 points wide.
            message = slack(name, 390, dark=dark, fold=True)
            camera.draw(f"slack-phone{ending}", message, 500)
        camera.draw("slack-thread", thread(390), 500)
        camera.draw("mail", mail(name, 860), 892, most=860)
        page = camera.folder / "report.html"
        report(page)
        camera.shoot("page-light", page, "1100,940")
        camera.shoot("page-dark", page, "1100,940", "--blink-settings=preferredColorScheme=0")
        page = GOLDEN / "problems-page.html"
        camera.shoot("problems-light", page, "1100,1000")
        camera.shoot("problems-dark", page, "1100,1000", "--blink-settings=preferredColorScheme=0")


if __name__ == "__main__":
    main()
