"""Licence, citation, version, changelog, declared dependencies, public CI: they are there and agree."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import sys
import tomllib
from email.message import Message
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bnrepro
from bnrepro import store

ROOT = store.REPOSITORY
AUTHORS = "the bnrepro authors"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


DECLARED = tomllib.loads(text("pyproject.toml"))
PROJECT = DECLARED["project"]
CITATION = yaml.safe_load(text("CITATION.cff"))


def pinned() -> dict[str, str]:
    """By canonical name, the version in requirements.txt. Every line there is a name with one version."""
    found = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line.partition("#")[0].strip()) for line in pins()]
    assert None not in found
    return {canonicalize_name(each[1]): each[2] for each in found if each}


def pins() -> list[str]:
    return [line for line in text("requirements.txt").splitlines() if line.partition("#")[0].strip()]


def ranges() -> list[Requirement]:
    """Every dependency that pyproject.toml declares: of the package, of its extras, and of its build."""
    extras = [each for group in PROJECT["optional-dependencies"].values() for each in group]
    return [Requirement(each) for each in [*PROJECT["dependencies"], *extras, *DECLARED["build-system"]["requires"]]]


def test_both_lists_name_the_same_packages_each_once() -> None:
    names = [canonicalize_name(each.name) for each in ranges()]
    assert sorted(names) == sorted(pinned())
    assert len(pins()) == len(pinned())


@pytest.mark.parametrize("declared", ranges(), ids=str)
def test_a_pinned_version_is_in_the_declared_range(declared: Requirement) -> None:
    assert declared.specifier.contains(pinned()[canonicalize_name(declared.name)])
    operators = {each.operator for each in declared.specifier}
    built = str(declared) in DECLARED["build-system"]["requires"]
    assert operators == ({">="} if built else {">=", "<"})


def test_version_and_name_are_the_same_everywhere() -> None:
    """The one source is pyproject.toml; the others repeat it."""
    assert PROJECT["name"] == "bnrepro"
    assert bnrepro.__version__ == version("bnrepro") == PROJECT["version"]
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["title"].startswith(f"{PROJECT['name']}: ")
    with pytest.raises(AttributeError, match="no attribute 'version'"):
        _ = bnrepro.version


def test_the_changelog_ends_at_this_version() -> None:
    headings = re.findall(r"^## \[(.+)\](?: - (\d{4}-\d{2}-\d{2}))?$", text("CHANGELOG.md"), flags=re.MULTILINE)
    assert len(headings) == len(re.findall(r"^## ", text("CHANGELOG.md"), flags=re.MULTILINE))
    released = [heading for heading in headings if heading[0] != "Unreleased"]
    assert released[0][0] == PROJECT["version"]
    assert all(date for _, date in released)
    assert [date for _, date in released] == sorted((date for _, date in released), reverse=True)
    kinds = set(re.findall(r"^### (.+)$", text("CHANGELOG.md"), flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_licence_is_the_same_everywhere() -> None:
    licence = text("LICENSE")
    assert licence.startswith("MIT License\n")
    assert f"Copyright (c) 2026 {AUTHORS}\n" in licence
    assert (PROJECT["license"], PROJECT["license-files"]) == ("MIT", ["LICENSE"])
    assert CITATION["license"] == "MIT"
    assert [each["name"] for each in (*PROJECT["authors"], *CITATION["authors"])] == [AUTHORS, AUTHORS]


def test_the_citation_names_software_and_paper() -> None:
    assert {"cff-version", "message", "title", "authors", "type", "version", "license"} <= CITATION.keys()
    assert CITATION["type"] == "software"
    [paper] = CITATION["references"]
    assert [each["family-names"] for each in paper["authors"]] == ["Ioffe", "Szegedy"]
    assert (paper["year"], paper["identifiers"][0]["value"]) == (2015, "arXiv:1502.03167")
    assert paper["title"].startswith("Batch Normalization")
    assert "arXiv:1502.03167" in text("README.md")


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Message:
    """The metadata that the build backend makes of this project; no network."""
    folder = tmp_path_factory.mktemp("built")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    made = "import setuptools.build_meta as backend; backend.prepare_metadata_for_build_wheel('out')"
    (folder / "out").mkdir()
    built = subprocess.run([sys.executable, "-c", made], cwd=folder, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "Deprecat" not in built.stderr
    [path] = folder.glob("out/*.dist-info/METADATA")
    return email.message_from_string(path.read_text(encoding="utf-8"))


def test_the_built_metadata_say_what_is_declared(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == (PROJECT["name"], PROJECT["version"])
    assert (metadata["License-Expression"], metadata["License-File"]) == ("MIT", "LICENSE")
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    required = [Requirement(each) for each in metadata.get_all("Requires-Dist", [])]
    assert {str(each) for each in required if each.marker is None} == {
        str(Requirement(each)) for each in PROJECT["dependencies"]
    }
    extras = {each.name for each in required if each.marker is not None}
    assert extras == {Requirement(each).name for group in PROJECT["optional-dependencies"].values() for each in group}


def test_public_ci_runs_what_every_change_must_pass() -> None:
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    [job] = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci/run", os.X_OK)
    [history] = [step["with"]["fetch-depth"] for step in job["steps"] if "checkout" in step.get("uses", "")]
    assert history == 0, "a shallow clone cannot tell whether rules are older than their runs"
    [python] = [step["with"]["python-version"] for step in job["steps"] if "python" in step.get("uses", "")]
    assert PROJECT["requires-python"] == f">={python}"
    assert Path(job["steps"][1]["with"]["cache-dependency-path"]) == Path("requirements.txt")
