"""The page in headless Chromium: it renders, on a telephone and a desktop, without an error.

Chromium is not a package of Python's: ``.ci/run`` installs Debian's. Without it these tests are
skipped on a developer's machine, and fail in CI.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowverdict_cli.commands import cli
from tests.helpers.command import HEADER

pytestmark = pytest.mark.slow

SCENARIOS = Path(__file__).parents[1] / "scenarios"
GOLDEN = Path(__file__).parents[1] / "golden"
BEGIN = 1_795_348_800


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium")
        pytest.skip("no Chromium")
    return found


def run(chromium: str, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - what was found on the path
        [
            chromium,
            "--headless=new",
            "--no-sandbox",  # root has no sandbox
            "--disable-gpu",
            "--hide-scrollbars",
            "--allow-file-access-from-files",  # the frame below measures the page in it
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            *options,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def report(path: Path, *arguments: str) -> Path:
    result = CliRunner().invoke(cli, ["report", "-o", str(path), *arguments])
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="module", params=["report", "sweep"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "sweep":
        return GOLDEN / "problems-page.html"
    logs = [str(path) for path in sorted(SCENARIOS.glob("rules-*.log"))]
    rules = ["--rules", str(SCENARIOS / "shop.config.json")]
    return report(tmp_path_factory.mktemp("page") / "report.html", *rules, *logs)


def measured(chromium: str, page: Path, folder: Path, width: int) -> tuple[str, str]:
    """Return ``WIDTHxHEIGHT`` of the page in a frame of a width, and the console's messages."""
    frame = folder / "frame.html"
    frame.write_text(
        f'<iframe id=f src="{html.escape(page.as_uri())}" style="width:{width}px;height:800px;'
        'border:0"></iframe><p id=size></p><script>f.onload=()=>{let d=f.contentDocument.'
        "documentElement;size.textContent='SIZE '+d.scrollWidth+'x'+d.scrollHeight}</script>"
    )
    done = run(
        chromium, folder / "profile", "--virtual-time-budget=5000", "--dump-dom", frame.as_uri()
    )
    size = re.search(r"SIZE (\d+)x(\d+)", done.stdout)
    assert size is not None, done.stdout[:500]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return size[0], "\n".join(console)


@pytest.mark.parametrize("width", [390, 1_280])
def test_the_page_fits_its_width_and_nothing_is_refused(
    chromium: str, page: Path, tmp_path: Path, width: int
) -> None:
    size, console = measured(chromium, page, tmp_path, width)
    shown = re.fullmatch(r"SIZE (\d+)x(\d+)", size)
    assert shown is not None
    assert int(shown[1]) <= width
    assert int(shown[2]) > 1_000
    assert console == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_drawn_in_light_and_dark(
    chromium: str, page: Path, tmp_path: Path, scheme: str
) -> None:
    picture = tmp_path / f"{scheme}.png"
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    run(
        chromium,
        tmp_path / "profile",
        "--window-size=1280,900",
        f"--screenshot={picture}",
        *dark,
        page.as_uri(),
    )
    assert picture.stat().st_size > 20_000  # an empty page of this size has some 5 kB


def test_a_hundred_thousand_rejected_flows_are_a_page_that_opens(
    chromium: str, tmp_path: Path
) -> None:
    log = tmp_path / "many.log"
    log.write_bytes(
        HEADER
        + b"".join(
            b"2 123456789012 eni-%017d 10.%d.%d.%d 10.0.1.5 %d 443 6 1 40 %d %d REJECT OK\n"
            % (n % 3_000, n >> 16, n >> 8 & 255, n & 255, 1_024 + n % 60_000, BEGIN + n, BEGIN + n)
            for n in range(100_000)
        )
    )
    page = report(tmp_path / "many.html", "--most", "0", str(log))
    assert page.stat().st_size < 5_000_000
    size, console = measured(chromium, page, tmp_path, 1_280)
    assert size.startswith("SIZE 1280x")
    assert console == ""
