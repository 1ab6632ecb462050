"""Puts the presets into the wheel; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithPresets(build_py):
    """Copies `configs/` to `slifmr_pl/presets/` of what is built; an editable install has both."""

    def run(self) -> None:
        """Builds."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "slifmr_pl", "presets")
            shutil.copytree("configs", target, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithPresets})
