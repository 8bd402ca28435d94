"""What the scripts refuse before anything starts: every script alike, in one line, with nothing made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import processes
import pytest

from bnrepro import arguments, store
from bnrepro.config.compose import Composer
from bnrepro.errors import ConfigError
from bnrepro.measurements import base


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``refused("report", "--results", "TYPO")``: the message; that nothing was printed or made is checked here."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def call(script: str, *given: str) -> str:
        path = processes.SCRIPTS / f"{script}.py"
        if script == "benchmarks":
            path = store.REPOSITORY / "benchmarks" / "__main__.py"
        monkeypatch.setattr("sys.argv", [str(path), *given])
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ConfigError) as error:
            processes.loaded(path).main()
        assert capsys.readouterr() == ("", "")
        assert sorted(tmp_path.rglob("*")) == before
        assert len(str(error.value).splitlines()) == 1
        return str(error.value)

    return call


@pytest.mark.parametrize("script", ["figures", "report", "restore", "verify"])
def test_results_that_are_not_there(script: str, refused: Callable[..., str], tmp_path: Path) -> None:
    assert "TYPO: no such folder" in refused(script, "--results", "TYPO")
    assert "no folder tables/ in it" in refused(script, "--results", str(tmp_path))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ("figures mnist_trainin", "did you mean mnist_training"),
        ("verify --experiments nope", "no sweep 'nope': choose from accelerations"),
        ("verify --claim nope", "no such claim; choose from faster_training"),
        ("verify --claim higher_accurac", "did you mean higher_accuracy"),
        ("verify --claim scale_invariance --seed 1", "without seeds; leave --seed out"),
        ("verify --seed 1", "--seed and --jobs go with --claim"),
        ("verify --claim affine_needed --seed 77", "have the seeds 0, 1, 2"),
        ("report --treatment nope", "no such normaliser"),
        ("report --treatment group", "no such normaliser"),  # it would overwrite the committed verdicts
        ("report --treatment none", "what the treatment is compared with"),
        ("figures --treatment ../../x", "no such normaliser"),
        ("compare --treatments layer,../../x", "is no name"),
        ("compare --treatments layr", "did you mean layer"),
        ("compare --treatments none", "what the treatment is compared with"),
        ("compare --profile full", "invalid choice"),
        ("compare norm=layer", "use the option --norm"),
        ("reproduce --treatment ../../x --no-train", "no such normaliser"),
        ("reproduce --treatment grup", "did you mean group"),
        ("reproduce --experiments ../x", "is no name"),
        ("reproduce --experiments nope --profile smoke", "no experiment nope"),
        ("reproduce --experiments ,", "names none"),
        ("verify --experiments ,", "names none"),
        ("reproduce --jobs -1", "--jobs: -1: must be a whole number, at least 1"),
        ("reproduce --jobs 0", "at least 1"),
        ("reproduce --prof smoke", "unrecognized arguments: --prof"),
        ("reproduce --profile huge", "invalid choice: 'huge'"),
        ("reproduce treatment=group", "use the option --treatment"),
        ("reproduce ++profile=full", "use the option --profile"),
        ("restore extra", "unrecognized arguments: extra"),
        ("measure measurement=nope", "choose from backward_equations"),
        ("measure scale_invariance", "name one measurement"),
        ("measure measurement=scale_invariance threads=0", "threads=0: must be at least 1"),
        ("measure measurement=scale_invariance measurement.scale=[1]", "Did you mean measurement.scales"),
        ("measure measurement=scale_invariance measurement.scales=1", "of another type than its default"),
        ("measure measurement=scale_invariance profile=nope", "choose one of smoke, quick, full"),
        ("benchmarks nope", "no row 'nope'"),
        ("benchmarks --rounds 0", "at least 1"),
        ("benchmarks --out .", "is a folder"),
        ("dashboard --dry-run --terminal", "not allowed with"),
        ("train --cfg nonsense", "invalid choice: 'nonsense'"),
        ("train seed=0 -m norm=none", "all KEY=VALUE stand together"),
        ("train --resolve", "--resolve goes with --cfg"),
        ("train --run -m", "only one of them"),
        ("train --shell-completion", "goes with one of install="),
    ],
)
def test_what_is_unknown_or_out_of_range(call: str, named: str, refused: Callable[..., str]) -> None:
    assert named in refused(*call.split())


def test_a_treatment_of_other_results_is_one_of_their_runs(tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "tables").mkdir()
    table = store.committed_results() / "tables" / "mnist_training.runs.csv"
    shutil.copy(table, tmp_path / "tables")
    assert arguments.treatment("batch", results=tmp_path) == "batch"
    assert "choose from batch" in refused("figures", "--results", str(tmp_path), "--treatment", "group")


def test_a_treatment_of_ones_own_is_known_by_its_folder(tmp_path: Path) -> None:
    (tmp_path / "norm").mkdir()
    (tmp_path / "norm" / "mine.yaml").touch()
    assert arguments.treatment("mine", tmp_path) == "mine"
    with pytest.raises(ConfigError):
        arguments.treatment("mine")


def test_everything_that_has_tables_can_be_named() -> None:
    from bnrepro.claims import EXPERIMENTS

    assert set(arguments.experiments()) == set(EXPERIMENTS)


# ------------------------------------------------------------------------------------------------ the composition


@pytest.mark.parametrize("name", ["my norms (1)", "it's", "a=b", "a,b", "ñandú", "${x}", "[a]", "50%"])
def test_a_folder_of_groups_may_have_any_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / "norm"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text("name: mine\n_target_: torch.nn.LayerNorm\n")
    with Composer(str(folder.parent)) as composer:
        [config] = composer.sweep(["norm=mine"], single=True)
        assert config.norm["name"] == "mine"
        with pytest.raises(ConfigError, match="mine"):  # among the choices
            composer.sweep(["norm=min"], single=True)
    with Composer() as composer, pytest.raises(ConfigError):
        composer.sweep(["norm=mine"], single=True)


def test_a_glob_lists_the_choices_of_a_group(composer: Composer) -> None:
    assert {config.norm["name"] for config in composer.sweep(["norm=glob(batch*)"])} == {
        "batch", "batch_no_affine", "batch_noisy", "batch_renorm",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="no such value"):
        composer.sweep(["norm=glob(x*)"])


def test_a_sweep_that_nobody_could_train_is_refused_at_once(composer: Composer) -> None:
    with pytest.raises(ConfigError, match="more than 100,000 runs"):
        composer.sweep(["seed=range(1000000000)"])
    with pytest.raises(ConfigError, match="more than 100,000 runs"):
        composer.sweep(["seed=range(1000)", "optimizer.lr=1,2,3", "steps=range(1,100)"])


@pytest.mark.parametrize("text", ["model=null", "data=null", "norm=null", "experiment=1", "experiment=[1,2]", "arm=''"])
def test_what_is_no_choice_of_a_group_is_refused_with_the_choices(text: str, composer: Composer) -> None:
    group = text.partition("=")[0]
    with pytest.raises(ConfigError) as error:
        composer.sweep([text], single=True)
    assert text.partition("=")[0] in str(error.value)
    assert all(name in str(error.value) for name in store.choices(group))


@pytest.mark.parametrize("text", ["=1", "~model", "~data=[]", "hydra.sweeper.params.seed=1", "norm@x=batch", "a..b=1"])
def test_what_hydra_cannot_compose_is_one_error(text: str, composer: Composer) -> None:
    with pytest.raises(ConfigError):
        composer.sweep([text], single=True)


def test_a_measurement_that_fails_with_a_users_settings_names_them(composer: Composer) -> None:
    planned = base.plan(composer, "scale_invariance", ["measurement.features=-1"])
    with pytest.raises(ConfigError, match=r"measurement\.features=-1.*cannot be made so"):
        base.execute(planned)


def test_a_measurement_says_first_what_it_says_of_its_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["measure.py", "measurement=identity_recoverable"])
    processes.loaded(processes.SCRIPTS / "measure.py").main()
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("identity_recoverable: ")
    known = json.loads((store.committed_results() / "claims.json").read_text())["identity_recoverable"]["value"]
    assert f", supported; committed: {known:.4g}, supported" in first
