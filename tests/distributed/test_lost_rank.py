"""A process that dies or hangs ends the run, with a message and in bounded time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("rank", "hangs"), [(0, False), (1, True)], ids=["the launcher dies", "another one hangs"]
)
def test_a_lost_process_ends_the_run(
    catalogue: Path, cache: Path, tmp_path: Path, rank: int, hangs: bool
) -> None:
    # The output ends when the last process that writes to it has ended, also the hanging one.
    result = subprocess.run(
        [
            *(sys.executable, "lightning_cli.py", "fit", "--config=configs/demo.yaml"),
            *("--config=configs/trainer/ddp.yaml", "--trainer.devices=2"),
            "--trainer.accelerator=cpu",
            "--trainer.strategy.init_args.timeout=0:00:10",
            f"--data.root={catalogue}",
            f"--trainer.default_root_dir={tmp_path}",
            "--trainer.callbacks+=tests.distributed.lost_rank.Dies",
            f"--trainer.callbacks.rank={rank}",
            f"--trainer.callbacks.hangs={hangs}",
        ],
        cwd=ROOT,
        env=os.environ | {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode != 0
    assert "another process of this run is gone" in result.stderr
    assert "resume from the last checkpoint" in result.stderr
