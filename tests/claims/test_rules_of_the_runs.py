"""The rules stood as they stand now in the commits that the runs were made from, which their records name."""

from __future__ import annotations

import ast
import subprocess

import pytest

from bnrepro import store
from bnrepro.claims import EXPERIMENTS
from bnrepro.tables import Results

FOLDER = "src/bnrepro/claims"
THRESHOLDS = {
    "rate_ladder": (
        ("rate_ladder", "BASE"), ("rate_ladder", "TRAINS"), ("rate_ladder", "STRICTER"),
        ("inception_training", "CHANCE"), ("inception_training", "ABOVE_CHANCE"),
    ),
    "plain_with_changes": (("plain_with_changes", "ARMS"),),
    "accelerations": (("accelerations", "HELPFUL"), ("accelerations", "DISPENSED")),
    "dropout": (),
}  # fmt: skip
"""Experiment → the names, and their modules, on which its verdicts depend besides the rules of its claims."""


def constants(source: str) -> dict[str, str]:
    """What each name at the top of a module is set to; of a dictionary, whose values are words, the keys."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            kept = [key for key in node.value.keys if key] if isinstance(node.value, ast.Dict) else [node.value]
            text = ", ".join(map(ast.unparse, kept))
            for target in node.targets:
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                found |= {ast.unparse(name): text for name in names}
    return found


def rules(source: str) -> dict[str, str]:
    """The rule of each claim that a module declares, by slug."""
    known, found = constants(source), {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Claim":
            given = {each.arg: ast.unparse(each.value) for each in node.keywords}
            found[ast.literal_eval(given["slug"])] = known.get(given["rule"], given["rule"])
    return found


def now(module: str) -> str:
    return (store.REPOSITORY / FOLDER / f"{module}.py").read_text(encoding="utf-8")


def at(commit: str, module: str) -> str | None:
    """A module's source at a commit; None in a copy without its history."""
    call = ["git", "-C", str(store.REPOSITORY), "show", f"{commit}:{FOLDER}/{module}.py"]
    try:
        found = subprocess.run(call, capture_output=True, text=True, encoding="utf-8")
    except FileNotFoundError:
        return None
    return found.stdout if found.returncode == 0 else None


@pytest.mark.parametrize("experiment", THRESHOLDS)
def test_the_rules_are_those_of_the_commit_of_the_runs(experiment: str) -> None:
    tables = Results(store.committed_results()).tables(experiment)
    sizes = 1 if tables is None else tables.runs["data.train_examples"].nunique()
    posed_anew = experiment != "dropout" or sizes > 1  # its first runs were all on one size
    if tables is None or not posed_anew or not set(EXPERIMENTS[experiment].arms) <= set(tables.runs["arm"]):
        pytest.skip(f"results/tables has no runs of {experiment} as it is now declared")
    for commit in sorted(set(tables.runs["commit"])):
        then = at(commit, experiment)
        if then is None:
            pytest.skip("this copy has no history of git, so that nothing says what the rules were")
        assert rules(then) == rules(now(experiment)), commit
        for module, name in THRESHOLDS[experiment]:
            before = at(commit, module)
            assert before is not None, commit
            assert constants(before)[name] == constants(now(module))[name], (commit, module)


def test_every_threshold_and_rule_is_found() -> None:
    for experiment, names in THRESHOLDS.items():
        assert set(rules(now(experiment))) == {claim.slug for claim in EXPERIMENTS[experiment].claims}
        for module, name in names:
            assert constants(now(module))[name]


def test_another_margin_threshold_or_group_of_changes_is_noticed() -> None:
    source = 'A, B = 0.1, 0.2\nRULE = Above(0.5)\nD = {"x": "words"}\nCLAIMS = (Claim(slug="s", rule=RULE),)\n'
    assert rules(source) == {"s": "Above(0.5)"}
    assert rules(source.replace("0.5", "0.4")) == {"s": "Above(0.4)"}
    assert rules(source.replace("rule=RULE", "rule=Below(1)")) == {"s": "Below(1)"}
    assert constants(source)["A"] != constants(source.replace("0.1", "0.3"))["A"]
    assert constants(source)["D"] == constants(source.replace("words", "others"))["D"]
    assert constants(source)["D"] != constants(source.replace('"x"', '"y"'))["D"]
