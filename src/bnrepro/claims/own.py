"""A user's own claims: ``claims.py`` and ``claims/NAME.py`` in the folder that ``--config-dir`` names.

Each file declares ``DECLARED = Experiment(...)``, as those of this package do. It is loaded by its path and checked
before anything is trained. What is wrong in it, then or while it judges, is one line: file, line, message.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from matplotlib.figure import Figure

from bnrepro import store, users_code
from bnrepro.claims import beyond
from bnrepro.claims.claim import Claim, Evidence, Experiment, Inapplicable, NotRun, no_figures
from bnrepro.errors import ConfigError, UserError
from bnrepro.stats import Estimate, Rule
from bnrepro.tables import COMPARISON, Results

NAME = "DECLARED"
UNITS = ("ratio", "share", "difference", "number")
EXPERIMENT, SLUG = re.compile(r"[A-Za-z0-9_-]+"), re.compile(r"[a-z0-9_]+")
WORDS = ("sentence", "source", "metric", "paper", "deviation", "figure")
T = TypeVar("T")


def files(folder: Path) -> list[Path]:
    """The files with claims in a user's folder."""
    return [*folder.glob("claims.py"), *sorted((folder / "claims").glob("[!_]*.py"))]


def sources(folder: Path) -> list[Path]:
    """All code that these claims may use: theirs, and the modules beside them."""
    return sorted({*folder.glob("*.py"), *folder.glob("claims/**/*.py")})


def load(folder: Path, ours: Iterable[Experiment]) -> dict[str, Experiment]:
    """The experiments that a user's folder declares, by name; each has figures and a section.

    Raises :class:`ConfigError` for a file that cannot be loaded, and for a name that ``ours`` or another file have.
    """
    known = list(ours)
    names = {each.name: "this repository" for each in known} | {COMPARISON: "this repository"}
    names |= dict.fromkeys([*store.choices("experiment"), *store.choices("measurement")], "this repository")
    slugs = {claim.slug: "this repository" for each in known for claim in each.claims}
    found = {}
    for path in files(folder):
        experiment = _declared(path, path.read_text(encoding="utf-8"))
        _refuse_taken(path, experiment.name, experiment.name, names)
        for claim in experiment.claims:
            _refuse_taken(path, claim.slug, claim.slug, slugs)
        found[experiment.name] = _completed(experiment, path)
    return found


def _refuse_taken(path: Path, name: str, text: str, taken: dict[str, str]) -> None:
    if name in taken:
        raise _wrong(path, text, f"the name {name} is taken by {taken[name]}; give it another one")
    taken[name] = str(path)


@functools.lru_cache(maxsize=64)
def _declared(path: Path, text: str) -> Experiment:
    """What the file ``path`` declares, whose content is ``text``. Raises :class:`ConfigError`."""
    module = types.ModuleType(f"own_claims_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look up annotations
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)
    except Exception as error:  # whatever a user's own code may raise
        raise ConfigError(users_code.cause(error)) from error
    declared = getattr(module, NAME, None)
    if not isinstance(declared, Experiment):
        raise _wrong(path, NAME, f"it must declare {NAME} = Experiment(...), as src/bnrepro/claims/affine.py does")
    for needle, fault in _faults(path, declared):
        raise _wrong(path, needle, fault)
    return declared


def _wrong(path: Path, needle: str, fault: str) -> ConfigError:
    """The fault is where ``path`` first has the text or the variable ``needle``."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    lines = (node.lineno for node in nodes if isinstance(node, ast.expr) and needle in (_text(node), _name(node)))
    return ConfigError(f"{path}, line {min(lines, default=1)}: {fault}")


def _text(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _name(node: ast.expr) -> object:
    return node.id if isinstance(node, ast.Name) else None


def _faults(path: Path, declared: Experiment) -> Iterator[tuple[str, str]]:
    """A text of the line that is at fault, and what is wrong with it."""
    name = declared.name
    if not isinstance(name, str) or not EXPERIMENT.fullmatch(name):
        yield NAME, f"only letters, digits and _ - name an experiment, not {name!r}, since it names tables"
        return
    if path.parent.name == "claims" and name != path.stem:
        yield NAME, f"the experiment {name!r} must be called {path.stem!r}, as the file"
    claims = declared.claims
    if not isinstance(claims, tuple) or not all(isinstance(each, Claim) for each in claims):
        yield NAME, "its claims must be a tuple of Claim(...)"
        return
    for claim in claims:
        slug = claim.slug
        if not isinstance(slug, str) or not SLUG.fullmatch(slug):
            yield str(slug), f"only lowercase letters, digits and _ name a claim, not {slug!r}"
        elif (claim.group, claim.origin) != ("own", "own"):
            yield slug, f'{slug}: group="own" and origin="own" mark a claim of your own'
        elif empty := [word for word in WORDS if not (isinstance(getattr(claim, word), str) and getattr(claim, word))]:
            yield slug, f"{slug}: {empty[0]} must be a text"
        elif not isinstance(claim.rule, Rule):
            yield slug, f"{slug}: its rule must be a rule of bnrepro.stats, such as Above(0.0), not {claim.rule!r}"
        elif claim.unit not in UNITS:
            yield slug, f"{slug}: unit={claim.unit!r} must be one of {', '.join(UNITS)}"
        elif not callable(claim.numbers):
            yield slug, f"{slug}: numbers must be a function of the results"
        elif not claim.figure.startswith(f"{name}_"):
            yield slug, f"{slug}: figure={claim.figure!r} must begin with {name}_, as the names of its figures do"
        elif declared.draw is no_figures and claim.figure != beyond.curves_name(name):
            yield slug, f"{slug}: without a function that draws, its figure is {beyond.curves_name(name)}"


# ------------------------------------------------------------------------------------- where it meets the tables


def _completed(declared: Experiment, path: Path) -> Experiment:
    """``declared`` with the default figures and section where it has none; its errors name file and line."""
    plain = beyond.experiment(declared.name, judged=bool(declared.claims))
    default = declared.draw is no_figures
    return replace(
        declared,
        own=True,
        draws_all=declared.draws_all or default,
        draw=plain.draw if default else _guarded(functools.partial(_drawn, declared, path), declared, path),
        section=_guarded(declared.section, declared, path) if declared.section else plain.section,
        claims=tuple(
            replace(claim, numbers=_guarded(functools.partial(_judged, claim, path), declared, path))
            for claim in declared.claims
        ),
    )


def _guarded(call: Callable[[Results], T], declared: Experiment, path: Path) -> Callable[[Results], T]:
    """``call``, whose exceptions are a :class:`ConfigError`; what has not been run names the call that runs it."""

    def guarded(results: Results) -> T:
        try:
            return call(results)
        except (UserError, Inapplicable):
            raise
        except NotRun as reason:
            names = ",".join(dict.fromkeys([reason.experiment, declared.name]))
            folder = path.parent.parent if path.parent.name == "claims" else path.parent
            raise NotRun(f"{names} --config-dir {folder}", reason.why) from None
        except Exception as error:
            raise ConfigError(users_code.cause(error)) from error

    return guarded


def _judged(claim: Claim, path: Path, results: Results) -> Evidence:
    found = claim.numbers(results)
    if not isinstance(found, Evidence):
        raise _wrong(path, claim.slug, f"{claim.slug}: numbers must return Evidence(...), not {type(found).__name__}")
    if not all(isinstance(each, Estimate) for each in found.estimates):
        raise _wrong(path, claim.slug, f"{claim.slug}: its estimates must be Estimate(...)")
    primary = [each for each in found.estimates if each.primary]
    if len(primary) != 1:
        raise _wrong(path, claim.slug, f"{claim.slug}: one estimate must be primary=True, not {len(primary)}")
    if primary[0].unit != claim.unit:
        raise _wrong(
            path, claim.slug, f"{claim.slug}: its unit is {claim.unit}, that of its estimate {primary[0].unit}"
        )
    return found


def _drawn(declared: Experiment, path: Path, results: Results) -> dict[str, Figure]:
    found = declared.draw(results)
    if not isinstance(found, dict) or not all(isinstance(each, Figure) for each in found.values()):
        raise _wrong(path, NAME, "the function that draws must return figures by name: {'NAME_curves': Figure}")
    if foreign := [name for name in found if not str(name).startswith(f"{declared.name}_")]:
        raise _wrong(path, str(foreign[0]), f"the figure {foreign[0]} must begin with {declared.name}_")
    if missing := [each for each in declared.claims if each.figure not in found]:
        raise _wrong(path, missing[0].figure, f"{missing[0].slug}: the figure {missing[0].figure} is not drawn")
    return found
