"""Links lead somewhere, each verdict and ending has a runbook, generated pages are the code's."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
import yaml

from flowverdict.alerts.ending import Ending
from flowverdict.verdict.model import VerdictKind
from scripts.pictures.draw import IMAGES, SHOWN, pictures
from scripts.pictures.stack import read_stack
from scripts.reference_pages import ENDINGS, MESSAGES, pages, runbook
from tests.helpers.documents import DOCS, DOCUMENTS, README, ROOT, anchors, links
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from pathlib import Path

SECTIONS = ("What it means", "How to check it by hand", "How to fix it", "When to silence it")


class _Loader(yaml.CSafeLoader):
    """Reads MkDocs' tag for environment variables as its arguments."""


_Loader.add_multi_constructor("!ENV", lambda *_: "")
SITE = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader=_Loader)  # noqa: S506 - a safe loader


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {link}"
        for page in DOCUMENTS
        for link in links(page)
        if not re.match(r"https?://|mailto:", link) and not leads_somewhere(page, link)
    ]
    assert broken == []


def leads_somewhere(page: Path, link: str) -> bool:
    target, _, anchor = link.partition("#")
    found = (page.parent / target).resolve() if target else page
    has_headings = anchor and found.suffix == ".md"
    return found.exists() and (not has_headings or anchor in anchors(found))


@pytest.mark.parametrize("value", [*VerdictKind, *Ending])
def test_every_verdict_and_every_ending_has_a_runbook(value: VerdictKind | Ending) -> None:
    page = runbook(value)
    text = page.read_text()
    assert value in text.partition("\n")[0]
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == [*SECTIONS, "A real message"]
    for section in re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]:
        assert section.strip()
    assert f"]({page.name})" in (DOCS / "runbooks" / "README.md").read_text()


def test_every_runbook_is_of_a_verdict_or_an_ending() -> None:
    expected = {runbook(value).name for value in (*VerdictKind, *Ending)}
    assert {path.name for path in (DOCS / "runbooks").glob("*.md")} == {*expected, "README.md"}
    assert MESSAGES.keys() == set(VerdictKind)
    assert ENDINGS.keys() == set(Ending)


@pytest.mark.slow
def test_generated_pages_are_those_of_the_code() -> None:
    differing = []
    for page, text in pages():
        if os.environ.get("UPDATE_GOLDEN"):
            page.write_text(text)
        if page.read_text() != text:
            differing.append(page.name)
    assert differing == [], "make reference writes them"


@pytest.mark.slow
def test_pictures_are_those_of_the_code() -> None:
    differing = []
    for path, text in pictures():
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text)
        if path.read_text() != text:
            differing.append(path.name)
    assert differing == [], "make pictures draws them"
    assert {path.name for path, _ in pictures()} <= {path.name for path in IMAGES.iterdir()}


def test_the_terminal_shows_a_command_of_the_readme() -> None:
    assert SHOWN in README.read_text()


@pytest.mark.parametrize("path", sorted(IMAGES.glob("*.svg")), ids=lambda path: path.name)
def test_a_picture_loads_nothing_and_runs_nothing(path: Path) -> None:
    text = path.read_text()
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}
    assert not re.search(r"<script|\son\w+=|@import|@font-face|href=", text)


def test_the_picture_of_the_stack_has_its_functions_and_no_alarm() -> None:
    stack = read_stack(read_template(ROOT / "template.yaml"))
    functions = {
        name
        for name, resource in read_template(ROOT / "template.yaml")["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert functions <= stack.captions.keys()
    reached = {target for _, target in stack.arrows}
    assert functions <= reached, "a function that nothing starts"
    assert not any(name.endswith(("Alarm", "Role", "DeadLetterQueue")) for name in stack.captions)


def test_the_site_loads_nothing_from_other_hosts() -> None:
    assert SITE["theme"]["font"] is False
    assert "analytics" not in str(SITE.get("extra", ""))
    assert "extra_javascript" not in SITE
    for name in SITE["extra_css"]:
        assert not re.search(r"url\(|@import|//", (DOCS / name).read_text())


def test_the_site_warns_of_everything_that_strict_makes_an_error() -> None:
    assert set(SITE["validation"]["links"].values()) == {"warn"}
    assert set(SITE["validation"]["nav"].values()) == {"warn"}
    assert "mkdocs build --strict" in (ROOT / "Makefile").read_text()
