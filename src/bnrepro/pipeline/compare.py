"""Normalisers compared in one call: train what is missing for all of them, judge, write table, figure and report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from bnrepro import data, store, tables
from bnrepro.claims import inception_training
from bnrepro.claims.comparison import EXPERIMENTS
from bnrepro.claims.comparison.rows import SEEDS
from bnrepro.claims.inception_normalisers import NAME as ONLY_OTHERS
from bnrepro.claims.inception_training import BASELINE as REFERENCE
from bnrepro.claims.inception_training import X5 as BN
from bnrepro.claims.naming import BATCH
from bnrepro.claims.normaliser_cost import NAME as COST
from bnrepro.config.compose import Composer
from bnrepro.config.identity import is_scientific
from bnrepro.config.schema import Config
from bnrepro.data import fallback
from bnrepro.data.fallback import Reasons
from bnrepro.errors import ConfigError, UserError
from bnrepro.measurements import base as measure
from bnrepro.pipeline.plan import AUTO, LONGEST_NAME, Request
from bnrepro.pipeline.publication import write_tables
from bnrepro.pipeline.stages import say
from bnrepro.report import comparison, drawing
from bnrepro.report.side_by_side import print_side_by_side
from bnrepro.runs import engine
from bnrepro.runs.planned import Planned
from bnrepro.runs.planned import plan as plan_run
from bnrepro.tables import Results
from bnrepro.training.loop import Trainer

EXAM = "exam"
"""The profile of the committed comparison."""
ALL = (
    "layer", "group", "instance", "rms", "weight", "batch_renorm", "ghost_batch", "filter_response", "dynamic_tanh",
)  # fmt: skip
"""The normalisers of the committed comparison, besides Batch Normalization."""
ROUNDS = {EXAM: "full"}
"""Profile → that of the measurement of a step's cost, if it is another one."""
TIMED = {"mlp": EXPERIMENTS[0], "inception": ONLY_OTHERS}
"""Network whose steps are timed → an experiment on it."""


@dataclass(frozen=True)
class Comparison:
    """What to compare: see :class:`~bnrepro.pipeline.plan.Request`, whose settings these are, for ``treatments``."""

    treatments: tuple[str, ...] = ALL
    profile: str = EXAM
    overrides: tuple[str, ...] = ()
    config_dir: str | None = None
    jobs: int | None = None
    train: bool = True
    device: str = AUTO

    @property
    def normalisers(self) -> list[str]:
        """The columns: Batch Normalization, which the others are compared with, then those asked for."""
        return list(dict.fromkeys([BATCH, *self.treatments]))

    @property
    def committed(self) -> bool:
        """Whether this is the comparison whose results are committed."""
        whole = set(self.normalisers) == {BATCH, *ALL}
        return whole and self.profile == EXAM and not self.changing and self.config_dir is None

    @property
    def changing(self) -> list[str]:
        """The overrides that make other runs."""
        return [text for text in self.overrides if is_scientific(text.lstrip("+~").partition("=")[0])]

    def folder(self, on_digits: bool) -> Path:
        """Where the tables of the runs go."""
        if self.committed and not on_digits:
            return store.committed_results() / comparison.NAME
        named = "+".join([*self.treatments, *map(_safe, self.changing)])
        substitute = fallback.SUBSTITUTE if on_digits else None
        return store.results_folder(f"{comparison.NAME}-{self.profile}", store.short(named, LONGEST_NAME), substitute)


def _safe(text: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in text)


@dataclass
class Plan:
    """The runs of a comparison by experiment, and by normaliser the experiments that it cannot be asked, and why."""

    runs: dict[str, list[Planned]]
    reasons: dict[str, dict[str, str]]
    on_digits: bool


def compare(asked: Comparison, console: Console) -> Path:
    """Train what is missing, write the tables, judge, draw. Returns the folder of table, figure and text.

    With ``train=False`` what is missing reads "not run". After an interruption nothing is written, and the next call
    goes on. Raises :class:`UserError`.
    """
    with Composer(asked.config_dir) as composer:
        plan = planned(asked, composer, console)
        everything = list({item.key: item for items in plan.runs.values() for item in items}.values())
        outcome = engine.Outcome()
        if asked.train:
            outcome = engine.train_all(everything, asked.jobs, console)
        else:
            missing = sum(not item.folder.is_done() for item in everything)
            say(console, f"{len(everything)} runs: {missing} are not there, and are left out")
        timed = _timed(asked, plan, composer, console)
    runs = asked.folder(plan.on_digits)
    into = store.committed_results() if runs.parent == store.committed_results() else runs
    with store.alone_in(runs):
        for name, items in plan.runs.items():
            for line in write_tables(name, [item.folder for item in items], runs, "make compare trains them again"):
                say(console, line)
        if timed is not None:
            tables.write_measurement(timed, runs)
        # Other settings, or the digits, are other questions: the committed answers do not stand beside them.
        elsewhere = into != store.committed_results() and not asked.changing and not plan.on_digits
        beside = comparison.read(store.committed_results()) if elsewhere else None
        comparison.write(into, Results(runs), asked.profile, asked.normalisers, plan.reasons, beside)
    frame = comparison.read(into)
    assert frame is not None
    print_side_by_side(frame, console)
    for path in drawing.draw_comparison(into):
        say(console, f"figure: {path}")
    text = into / "COMPARISON.md"
    if into == store.committed_results():
        say(console, "make report puts it into results/REPORT.md")
    else:
        store.write_atomic(text, comparison.section(frame, asked.profile) + "\n")
        say(console, f"report: {text}")
    outcome.require_all()
    return into


def planned(asked: Comparison, composer: Composer, console: Console) -> Plan:
    """The runs of all normalisers, each once.

    A normaliser that cannot process an experiment's data is left out of it, with the reason; one that can be asked
    nothing raises :class:`ConfigError`.
    """
    request = Request(asked.profile, overrides=asked.overrides, device=asked.device)
    found = Plan({}, {}, False)
    reasons, told = Reasons(), set[str]()
    for normaliser in asked.normalisers:
        for name in EXPERIMENTS:
            if name == ONLY_OTHERS and normaliser == BATCH:
                continue  # inception_training has it already
            composed = partial(_composed, composer, name, asked, normaliser)
            swept = fallback.with_data(composed, reasons)
            if swept.reason and swept.reason not in told:
                told.add(swept.reason)
                fallback.tell(swept, lambda text: say(console, text), again=True)
            found.on_digits |= swept.on_digits
            own = [config for config in swept.configs if config.norm["name"] == normaliser]
            if own and (reason := _refusal(own[0])):
                found.reasons.setdefault(normaliser, {})[name] = reason
                continue
            items = found.runs.setdefault(name, [])
            known = {item.key for item in items}
            planned_now = (plan_run(config, together=True, devices=request.devices()) for config in swept.configs)
            items += [item for item in planned_now if item.key not in known]
        refused = found.reasons.get(normaliser, {})
        if len(refused) >= len(EXPERIMENTS) - 1:
            raise ConfigError(next(iter(refused.values())))
    return found


def _composed(
    composer: Composer, name: str, asked: Comparison, normaliser: str, stand_in: tuple[str, ...]
) -> list[Config]:
    fixed = [f"experiment={name}", f"profile={asked.profile}", f"treatment={normaliser}", SEEDS]
    arms = [f"arm={REFERENCE},{BN}"] if name == inception_training.NAME else []
    return composer.sweep([*fixed, *arms, *stand_in, *asked.overrides])


def _refusal(config: Config) -> str:
    """Why the network of ``config`` cannot be trained; empty if it can."""
    try:
        Trainer(config, data.load(config.data))
    except ConfigError as error:
        return str(error)
    return ""


def _timed(asked: Comparison, plan: Plan, composer: Composer, console: Console) -> store.RunFolder | None:
    """The measurement of a step's cost with every normaliser, made last, when nothing else runs here."""
    listed = {
        model: ",".join(name for name in asked.normalisers if experiment not in plan.reasons.get(name, {}))
        for model, experiment in TIMED.items()
    }
    settings = [f"measurement.normalisers.{model}=[{names}]" for model, names in listed.items()]
    try:
        profile = [f"profile={ROUNDS.get(asked.profile, asked.profile)}"]
        item = measure.plan(composer, COST, [*profile, *settings])
        if not item.folder.is_done():
            if not asked.train:
                say(console, f"{COST} has not been measured here, and is left out")
                return None
            say(console, f"measuring {COST}")
        measure.execute(item)
    except UserError as error:
        say(console, f"{COST}: {error}")
        return None
    return item.folder
