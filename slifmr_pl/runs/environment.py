"""What a run was made with: versions, hardware and the state of the code.

Only what a person would publish: no environment variables, no names of users or machines.
"""

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from slifmr_pl import __version__

PACKAGES = (
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "jsonargparse",
    "numpy",
    "scipy",
    "pyarrow",
    "transformers",
    "tokenizers",
    "safetensors",
    "pillow",
    "torch-scatter",
    "torch-sparse",
)


def environment() -> dict[str, Any]:
    """`packages`, `python`, `platform` and `hardware`, as plain types."""
    return {
        "packages": {"slifmr-pl": __version__, **_versions()},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hardware": {
            "cpu": _cpu_name(),
            "cpus": os.cpu_count(),
            "gpus": [
                torch.cuda.get_device_name(device) for device in range(torch.cuda.device_count())
            ],
            "threads": torch.get_num_threads(),
        },
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """`commit`, and whether tracked files are changed (`dirty`); None outside a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return {"commit": commit, "dirty": bool(changes)}


def without_home(text: str) -> str:
    """A text in which `~` stands for the home folder, which often holds the user's name."""
    home = str(Path.home())
    if home == os.sep:
        return text
    return re.sub(rf"(?<![\w./~-]){re.escape(home)}(?![\w.-])", "~", text)


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # the optional ones
            continue
    return versions


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None without git or a repository with a commit."""
    git = shutil.which("git")
    if git is None:
        return None
    result = subprocess.run(  # noqa: S603  # fixed arguments, no shell
        [git, "--no-optional-locks", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() if result.returncode == 0 else None
