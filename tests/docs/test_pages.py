"""The pages of docs/ and the README: every command in them can be called, every link leads somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import processes
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bnrepro import arguments, store
from bnrepro.config.compose import Composer
from bnrepro.measurements import base
from bnrepro.pipeline.plan import Request

ROOT = store.REPOSITORY
TEMPLATES = ROOT / "docs" / "templates"
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
PAGES = [*DOCS, "README.md", "CONTRIBUTING.md"]
SCREEN = 60
"""Lines of a page that says how to do something."""
DESIGNS = {"docs/fleets.md"}
"""Pages that also explain how a part of the code works."""
SCRIPTS_OF = re.compile(r"\S*python (scripts/\w+\.py.*)")
STARTS = re.compile(r"([A-Z_]+=\S+ )*(make|cp|python|torchrun|\.venv/bin/\w+) ")


def tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((ROOT / page).read_text(encoding="utf-8"))


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """The language and the text of every block of code."""
    return ((token.info, token.content) for token in tokens(page) if token.type == "fence")


def commands(page: str) -> Iterator[list[str]]:
    """Every command of a page, in words: in blocks, and between the words of a page of docs/."""
    shown = [text for language, text in blocks(page) if not language and (page in DOCS or STARTS.match(text))]
    inline = (child for token in tokens(page) for child in token.children or ())
    shown += [child.content for child in inline if child.type == "code_inline" and STARTS.match(child.content)
              and page in DOCS]  # fmt: skip
    for text in shown:
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words:
                yield words


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which what the pages name is there: the templates, results of their sweep, the committed results."""
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(TEMPLATES, tmp_path / "my")
    (tmp_path / "outputs" / "quick-batch+my_sweep" / "tables").mkdir(parents=True)
    (tmp_path / "results").symlink_to(ROOT / "results")
    return tmp_path


# --------------------------------------------------------------------------------------------------- commands


@pytest.mark.parametrize("page", PAGES)
def test_every_command_can_be_called(page: str, here: Path) -> None:
    found = list(commands(page))
    for words in found:
        check(words)
    assert found or page not in DOCS


def check(words: list[str]) -> None:
    """Everything that a command does before it starts to work. An error, or an unknown command, fails the test."""
    program, rest = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "make":
        told = subprocess.run(["make", "-n", *rest], cwd=ROOT, capture_output=True, text=True)
        assert told.returncode == 0, (words, told.stderr)
        for call in SCRIPTS_OF.findall(told.stdout.replace("\\\n", " ")):
            if "$treatment" not in call:  # a loop of the shell
                check(["python", *shlex.split(call)])
    elif program == "python":
        CHECKS.get(Path(rest[0]).stem, parsed)(rest[0], rest[1:])
    elif program == "torchrun":
        from torch.distributed.run import get_args_parser

        given = get_args_parser().parse_args(rest)
        check(["python", given.training_script, *given.training_script_args])
    elif program == "wandb":
        from wandb.cli.cli import cli

        assert rest[0] in cli.commands
    elif program == "cp":
        assert (ROOT / rest[1]).is_dir(), words
    elif program == ".ci/run":
        assert os.access(ROOT / program, os.X_OK)
    else:
        raise AssertionError(f"no command of a page: {words}")


def parsed(script: str, given: list[str]) -> object:
    return processes.loaded(ROOT / script).parser().parse_args(given)


def train(script: str, given: list[str]) -> None:
    found = parsed(script, given)
    processes.loaded(ROOT / script).refuse_together(found)
    with Composer(found.config_dir) as composer:  # type: ignore[attr-defined]
        assert composer.sweep(found.overrides, single=not found.multirun)  # type: ignore[attr-defined]


def measure(script: str, given: list[str]) -> None:
    name, rest = processes.loaded(ROOT / script).chosen(given)
    with Composer() as composer:
        assert base.plan(composer, name, rest, with_networks=False).name == name


def reproduce(script: str, given: list[str]) -> None:
    found = vars(parsed(script, given))
    folder = found["config_dir"]
    arguments.treatment(found["treatment"], Path(folder) if folder else None)
    request = Request(
        found["profile"], found["treatment"], found["experiments"], tuple(found["overrides"]), found["config_dir"]
    )
    swept = [name for name in request.names() if name not in store.choices("measurement")]
    with Composer(folder) as composer:
        for name in swept if found["experiments"] else swept[:1]:
            assert composer.sweep([f"experiment={name}", *request.common()])


CHECKS = {"train": train, "measure": measure, "reproduce": reproduce}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("make nothing", AssertionError),
        ('make reproduce ARGS="--config-dir my --experiments other"', arguments.ConfigError),
        ("make report ARGS=--resuls=x", arguments.ConfigError),
        (".venv/bin/python scripts/train.py norm=bach", arguments.ConfigError),
        (".venv/bin/python scripts/measure.py measurement=nope", arguments.ConfigError),
        ("torchrun --nproc-per-node=2 scripts/train.py batchsize=2", arguments.ConfigError),
        ("cp -r docs/nothing my", AssertionError),
        ("rm -r my", AssertionError),
    ],
)
def test_a_wrong_command_would_be_noticed(words: str, error: type[Exception], here: Path) -> None:
    with pytest.raises(error):
        check(shlex.split(words))


def test_the_results_that_a_page_names_are_those_of_its_sweep(here: Path) -> None:
    request = Request("quick", only=("my_sweep",), config_dir="my")
    named = re.findall(r"--results (outputs/\S+)", (ROOT / "docs/sweep.md").read_text(encoding="utf-8"))
    assert {Path(name).name for name in named} == {request.results("batch", False).name}


# -------------------------------------------------------------------------------------------- templates, links


@pytest.mark.parametrize("page", DOCS)
def test_code_of_a_file_is_that_of_the_template(page: str) -> None:
    for language, text in blocks(page):
        if language:
            head, _, code = text.partition("\n")
            assert head.startswith("# my/"), f"{page}: name the file: {head}"
            whole = (TEMPLATES / head.removeprefix("# my/")).read_text(encoding="utf-8")
            assert code in whole, head


def test_every_template_is_explained() -> None:
    names = [path.relative_to(TEMPLATES).parts[0] for path in TEMPLATES.rglob("*.*") if "__pycache__" not in path.parts]
    told = " ".join((ROOT / page).read_text(encoding="utf-8") for page in DOCS)
    assert set(names) == {"arm", "claims", "data", "experiment", "norm", "my_norm.py"}
    assert [name for name in names if f"my/{name}" not in told] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    children = [child for token in tokens(page) for child in token.children or ()]
    for child in children:
        target = str(child.attrs.get("href", child.attrs.get("src", "")))
        if not target or "://" in target:
            continue
        path, _, fragment = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if fragment:
            assert fragment in anchors(file), f"{page}: {target}"


def anchors(file: Path) -> set[str]:
    """The headings of a page, as links address them."""
    found = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in found}


@pytest.mark.parametrize("page", [page for page in (*DOCS, "CONTRIBUTING.md") if page not in DESIGNS])
def test_a_page_is_one_screen(page: str) -> None:
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= SCREEN
