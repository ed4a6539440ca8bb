"""Make the files of a release in ``dist``: built stacks, list of components, checksums, notes.

    python -m scripts.make_release notes v0.2.0 >.release/notes.md
    python -m scripts.make_release archive arm64
    python -m scripts.make_release components
    python -m scripts.make_release checksums     (``make release TAG=v0.2.0``)

Wheel and sdist are hatchling's.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
DIST: Final = ROOT / "dist"
BUILD: Final = ROOT / ".aws-sam" / "build"
# What `sam publish` wants beside the template; it takes paths or addresses of S3
# (https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-sam-template-publishing-applications-metadata-properties.html).
_PUBLISHED: Final = {"LicenseUrl": "LICENSE", "ReadmeUrl": "README.md"}
_PIN: Final = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^ \\;]+)", re.MULTILINE)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_SOME_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the same files make the same archive


def version() -> str:
    """Return the version of the project."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def notes(tag: str, changelog: str) -> str:
    """Return the section of the changelog for a tag.

    Raises
    ------
    ValueError
        The tag is not the project's version, or the changelog has no dated section for it.
    """
    if tag != f"v{version()}":
        raise ValueError(f"tag {tag}, but the project is version {version()}")
    found = re.search(
        rf"^## \[{re.escape(version())}\] - \d{{4}}-\d{{2}}-\d{{2}}\n(.*?)(?=^## |\Z)",
        changelog,
        re.MULTILINE | re.DOTALL,
    )
    if found is None:
        raise ValueError(f"CHANGELOG.md has no dated section for {version()}")
    return found[1].strip() + "\n"


def archive(build: Path, target: Path) -> None:
    """Pack a built stack with what ``sam deploy`` and ``sam publish`` need beside it."""
    template = (build / "template.yaml").read_text()
    head = "  AWS::ServerlessRepo::Application:\n"
    if template.count(head) != 1:
        raise ValueError(f"{build}: the template names no application, or several")
    added = "".join(f"    {name}: {path}\n" for name, path in _PUBLISHED.items())
    files = {
        str(path.relative_to(build)): path.read_bytes()
        for path in sorted(build.rglob("*"))
        if path.is_file()
    }
    files["template.yaml"] = template.replace(head, head + added).encode()
    for name in (*_PUBLISHED.values(), "samconfig.toml", "templates/reader-role.yaml"):
        files[name] = (ROOT / name).read_bytes()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, date_time=_SOME_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, content)


def components() -> dict[str, Any]:
    """Return what the layers contain as a CycloneDX 1.6 bill of materials."""
    listed = []
    for pins in sorted((ROOT / "layers").glob("*/requirements.txt")):
        text = pins.read_text()
        starts = list(_PIN.finditer(text))
        ends = [*(start.start() for start in starts[1:]), len(text)]
        for pin, end in zip(starts, ends, strict=True):
            hashes = _HASH.findall(text[pin.end() : end])
            listed.append(
                {
                    "type": "library",
                    "name": pin["name"],
                    "version": pin["version"],
                    "purl": f"pkg:pypi/{pin['name']}@{pin['version']}",
                    "properties": [
                        {"name": "flowverdict:layer", "value": pins.parent.name},
                        # One for each file of the package; a build takes its processor's.
                        *({"name": "flowverdict:sha256", "value": value} for value in hashes),
                    ],
                }
            )
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": "flowverdict",
                "version": version(),
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": listed,
    }


def checksums(folder: Path) -> str:
    """Return the SHA-256 of each file, as ``sha256sum --check`` reads it."""
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(folder.iterdir())
        if path.name != "SHA256SUMS"
    )


def main(arguments: list[str]) -> None:
    """Run one step of a release."""
    match arguments:
        case ["notes", tag]:
            sys.stdout.write(notes(tag, (ROOT / "CHANGELOG.md").read_text()))
        case ["archive", processor]:
            archive(BUILD, DIST / f"flowverdict-{version()}-{processor}.zip")
        case ["components"]:
            text = json.dumps(components(), indent=2) + "\n"
            (DIST / f"flowverdict-{version()}.cdx.json").write_text(text)
        case ["checksums"]:
            (DIST / "SHA256SUMS").write_text(checksums(DIST))
        case _:
            raise ValueError(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
