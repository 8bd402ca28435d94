"""The Slurm launcher without a cluster: submitit's debug executor runs the same jobs, with the same parameters."""

from __future__ import annotations

import shutil
from pathlib import Path

import processes
import pytest
import submitit

SMALL = ["data=digits", "wandb=disabled", "model.hidden=[8]", "batch_size=20", "steps=30"]
SWEEP = ["-m", "hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.array_parallelism=7"]


class Submitted(submitit.AutoExecutor):
    """What the launcher builds for Slurm, its jobs run here one after another; what sbatch would be told, in a file."""

    def __init__(self, folder: str, cluster: str, **parameters: object) -> None:
        assert cluster == "slurm"
        super().__init__(folder=folder, cluster="debug", **parameters)

    def update_parameters(self, **parameters: object) -> None:
        super().update_parameters(**parameters)
        Path("told").write_text(repr(sorted((key, value) for key, value in parameters.items())))


def on_a_cluster(cwd: str, said: str) -> None:
    submitit.AutoExecutor = Submitted
    shutil.which = lambda name: f"/usr/bin/{name}"  # type: ignore[assignment]
    processes.script("train", [*SWEEP, *SMALL, "norm=none,batch"], cwd, said)


def test_a_sweep_of_two_jobs(tmp_path: Path, outputs: Path) -> None:
    said = tmp_path / "said"
    code = processes.wait(processes.start(on_a_cluster, str(tmp_path), str(said)))
    assert code == 0, said.with_suffix(".err").read_text()
    assert {path.parent.name.partition("-")[0] for path in outputs.glob("runs/single/*/DONE")} == {"none", "batch"}
    told = (tmp_path / "told").read_text()
    for expected in ("('slurm_partition', 'gpu')", "('slurm_array_parallelism', 7)", "('timeout_min', 60)"):
        assert expected in told


@pytest.mark.skipif(shutil.which("srun") is not None, reason="there is a Slurm here")
def test_without_a_cluster_it_is_refused(tmp_path: Path, outputs: Path) -> None:
    call = processes.call(tmp_path, "train", *SWEEP, *SMALL, "norm=none,batch")
    assert call.code == 2
    assert "Slurm is not available" in call.err
    assert not outputs.exists()
