"""What a release is made of: notes, built stacks, components, checksums; the entry of SAR."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path

import pytest
import yaml

from scripts import make_release
from scripts.make_release import archive, checksums, components, notes, version
from tests.helpers.sam_template import read_template

ROOT = Path(__file__).parents[2]
APPLICATION = read_template(ROOT / "template.yaml")["Metadata"]["AWS::ServerlessRepo::Application"]
CHANGELOG = f"""# Changelog

## [Unreleased]

- later

## [{version()}] - 2026-11-24

- this

## [0.0.1] - 2026-01-01

- before
"""


def test_notes_are_the_section_of_the_tag() -> None:
    assert notes(f"v{version()}", CHANGELOG) == "- this\n"
    assert notes(f"v{version()}", (ROOT / "CHANGELOG.md").read_text()).startswith("### ")


@pytest.mark.parametrize(
    ("tag", "changelog", "reason"),
    [
        ("v9.9.9", CHANGELOG, "tag v9.9.9, but the project is version"),
        (f"v{version()}", "# Changelog\n\n## [Unreleased]\n", "no dated section"),
    ],
)
def test_a_tag_of_another_version_and_a_release_without_notes_are_refused(
    tag: str, changelog: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        notes(tag, changelog)


def test_the_archive_can_be_deployed_and_published(tmp_path: Path) -> None:
    build = tmp_path / "build"
    (build / "SweepAlertsFunction").mkdir(parents=True)
    (build / "SweepAlertsFunction" / "app.py").write_text("pass\n")
    (build / "template.yaml").write_text((ROOT / "template.yaml").read_text())
    archive(build, tmp_path / "one.zip")
    archive(build, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as packed:
        names = set(packed.namelist())
        template = tmp_path / "packed.yaml"
        template.write_bytes(packed.read("template.yaml"))
    application = read_template(template)["Metadata"]["AWS::ServerlessRepo::Application"]
    assert application == APPLICATION | {"LicenseUrl": "LICENSE", "ReadmeUrl": "README.md"}
    assert {"LICENSE", "README.md", "samconfig.toml", "SweepAlertsFunction/app.py"} <= names


def test_a_build_without_the_entry_is_refused(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text("Resources: {}\n")
    with pytest.raises(ValueError, match="no application"):
        archive(tmp_path, tmp_path / "any.zip")


def test_the_entry_fits_the_repository_and_the_project() -> None:
    # https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-sam-template-publishing-applications-metadata-properties.html
    assert re.fullmatch(r"[a-zA-Z0-9-]{1,140}", APPLICATION["Name"])
    assert re.fullmatch(r"[a-z0-9](([a-z0-9]|-(?!-))*[a-z0-9])?", APPLICATION["Author"])
    assert 1 <= len(APPLICATION["Description"]) <= 256
    assert len(APPLICATION["Labels"]) <= 10
    assert all(re.fullmatch(r"[a-zA-Z0-9+\-_:/@]{1,127}", label) for label in APPLICATION["Labels"])
    assert APPLICATION["SemanticVersion"] == version()
    assert APPLICATION["SpdxLicenseId"] == "Apache-2.0"
    # A deployment of a build would look for these files beside the built template.
    assert not {"LicenseUrl", "ReadmeUrl"} & APPLICATION.keys()


def test_components_are_all_pins_of_the_layers() -> None:
    listed = components()
    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.6")
    assert json.loads(json.dumps(listed)) == listed
    expected = {
        (layer, name, pin)
        for layer in ("dependencies", "engine")
        for name, pin in re.findall(
            r"^(\S+)==(\S+)",
            (ROOT / "layers" / layer / "requirements.txt").read_text(),
            re.MULTILINE,
        )
    }
    found = {
        (component["properties"][0]["value"], component["name"], component["version"])
        for component in listed["components"]
    }
    assert found == expected
    for component in listed["components"]:
        assert component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"
        assert len(component["properties"]) > 1, "no hash"


def test_checksums_are_of_all_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"a")
    (tmp_path / "SHA256SUMS").write_text("old")
    assert checksums(tmp_path) == f"{hashlib.sha256(b'a').hexdigest()}  a.zip\n"


def test_the_workflow_makes_what_the_target_makes() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    steps = [step.get("run", "") for step in workflow["jobs"]["release"]["steps"]]
    gate, made, created = steps[-3:]
    assert (gate, made) == (".ci/run", 'make release TAG="$TAG"')
    assert "--notes-file .release/notes.md dist/*" in created
    assert "${{" not in created, "a name of a tag is not to be run"
    makefile = (ROOT / "Makefile").read_text()
    (recipe,) = re.findall(r"^release:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    for step in ("notes", "archive", "components", "checksums"):
        assert f"scripts.make_release {step}" in recipe
    assert "hatchling build -d dist" in recipe
    with pytest.raises(ValueError, match="make release"):
        make_release.main(["other"])
