"""The layers hold what the pins say: wheels by their hashes, for the processor of the template."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.choose_processor import PROCESSORS, choose_processor
from tests.helpers.sam_template import read_template

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
LAYERS = ("DependenciesLayer", "EngineLayer")
WHEELS_OF = {"arm64": "aarch64", "x86_64": "x86_64"}


@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_template_builds_each_layer_of_wheels_for_its_processor(
    processor: str, tmp_path: Path
) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(choose_processor((ROOT / "template.yaml").read_text(), processor))
    for name, resource in read_template(template)["Resources"].items():
        folder = ROOT / str(resource.get("Properties", {}).get("ContentUri", "nowhere"))
        assert (folder / "requirements.txt").is_file() is (name in LAYERS)
        if name in LAYERS:
            metadata = resource["Metadata"]
            assert metadata["BuildMethod"] == "makefile"
            makefile = (ROOT / metadata["ContextPath"] / "Makefile").read_text()
            assert f"PROCESSOR := {WHEELS_OF[processor]}\n" in makefile


def make_wheel(folder: Path, platform: str, code: str) -> str:
    """Write a wheel ``sample`` 1.0 and return its SHA-256."""
    tag = f"cp313-cp313-{platform}"
    path = folder / f"sample-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("sample.py", code)
        wheel.writestr(
            "sample-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n"
        )
        wheel.writestr(
            "sample-1.0.dist-info/WHEEL",
            f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}\n",
        )
        wheel.writestr("sample-1.0.dist-info/RECORD", "")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def built(
    folder: Path, processor: str, hashes: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Build a layer whose one requirement is ``sample``, as ``sam build`` does."""
    pins = " ".join(f"--hash=sha256:{each}" for each in hashes.values())
    (folder / "requirements.txt").write_text(f"sample==1.0 {pins}\n")
    makefile = ROOT / "layers" / "processors" / processor / "Makefile"
    return subprocess.run(  # noqa: S603 - the project's own makefile
        ["make", "--makefile", str(makefile), "build-DependenciesLayer"],  # noqa: S607 - from the path
        cwd=folder,
        env={
            "PATH": f"{ROOT / '.venv-sam' / 'bin'}:{os.environ['PATH']}",
            "ARTIFACTS_DIR": str(folder / "built"),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(folder),
            "HOME": str(folder),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_swapped_wheel_of_either_processor_fails_the_build(
    processor: str, tmp_path: Path
) -> None:
    hashes = {
        of: make_wheel(tmp_path, f"manylinux_2_28_{wheel}", f"of = {of!r}\n")
        for of, wheel in WHEELS_OF.items()
    }
    whole = built(tmp_path, processor, hashes)
    assert whole.returncode == 0, whole.stderr
    assert (tmp_path / "built" / "python" / "sample.py").read_text() == f"of = {processor!r}\n"

    make_wheel(tmp_path, f"manylinux_2_28_{WHEELS_OF[processor]}", "of = 'somebody else'\n")
    swapped = built(tmp_path, processor, hashes)

    assert swapped.returncode != 0
    assert "DO NOT MATCH THE HASHES" in swapped.stderr


@pytest.mark.slow
def test_a_pin_without_a_hash_and_a_source_distribution_fail_the_build(tmp_path: Path) -> None:
    make_wheel(tmp_path, "manylinux_2_28_aarch64", "")
    assert "Hashes are required" in built(tmp_path, "arm64", {}).stderr
    (tmp_path / "sample-1.0-cp313-cp313-manylinux_2_28_aarch64.whl").unlink()
    source = tmp_path / "sample-1.0.tar.gz"
    source.write_bytes(b"setup.py would run here")
    hashes = {"source": hashlib.sha256(source.read_bytes()).hexdigest()}
    assert "No matching distribution found" in built(tmp_path, "arm64", hashes).stderr


def sam_build(copy: Path, wheels: Path) -> subprocess.CompletedProcess[str]:
    """Build a layer of a copy of the project by ``sam build``, from a folder of wheels alone."""
    command = ["build", "DependenciesLayer"]
    return subprocess.run(  # noqa: S603 - the pinned sam
        [ROOT / ".venv-sam" / "bin" / "sam", *command, "--region", "us-east-1"],
        cwd=copy,
        env={
            "PATH": f"{ROOT / '.venv-sam' / 'bin'}:{os.environ['PATH']}",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_NO_CACHE_DIR": "1",
            "PIP_FIND_LINKS": wheels.as_uri(),
            "HOME": str(wheels),
            "SAM_CLI_TELEMETRY": "0",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_sam_build_refuses_a_swapped_wheel(tmp_path: Path) -> None:
    processor = "arm64"  # of the template
    copy, wheels = tmp_path / "copy", tmp_path / "wheels"
    wheels.mkdir()
    shutil.copytree(ROOT / "layers", copy / "layers")
    shutil.copy(ROOT / "template.yaml", copy)
    hashes = {
        of: make_wheel(wheels, f"manylinux_2_28_{wheel}", f"of = {of!r}\n")
        for of, wheel in WHEELS_OF.items()
    }
    pins = " ".join(f"--hash=sha256:{each}" for each in hashes.values())
    (copy / "layers" / "dependencies" / "requirements.txt").write_text(f"sample==1.0 {pins}\n")
    whole = sam_build(copy, wheels)
    assert whole.returncode == 0, whole.stderr
    (sample,) = (copy / ".aws-sam" / "build").rglob("sample.py")
    assert sample.read_text() == f"of = {processor!r}\n"

    make_wheel(wheels, f"manylinux_2_28_{WHEELS_OF[processor]}", "of = 'somebody else'\n")
    swapped = sam_build(copy, wheels)

    assert swapped.returncode != 0
    assert "DO NOT MATCH THE HASHES" in swapped.stderr
    assert "somebody else" not in "".join(
        path.read_text() for path in (copy / ".aws-sam").rglob("sample.py")
    )
