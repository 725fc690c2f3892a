"""A virtual environment for each group of peers, and the images as all of them read them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from benchmarks.peers.plan import HERE


def python_of(folder: Path, environment: str) -> Path:
    place = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
    return folder / environment / place


def install(folder: Path, environment: str) -> bool:
    """Make an environment from its pinned requirements, where that has not been done.

    Returns:
        whether it is there now.
    """
    requirements = HERE / "requirements" / f"{environment}.txt"
    # A copy of what was installed: an environment that was left half made, or of other versions, is made anew.
    mark = folder / environment / "requirements.txt"
    if mark.exists() and mark.read_text() == requirements.read_text():
        print(f"{environment}: is there")
        return True
    print(f"{environment}: installing", flush=True)
    pip = [str(python_of(folder, environment)), "-m", "pip", "install", "--quiet", "-r", str(requirements)]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder / environment)], pip):
        if subprocess.run(command).returncode:
            print(f"{environment}: failed", flush=True)
            return False
    mark.write_text(requirements.read_text())
    return True


def images(folder: Path) -> Path:
    """CIFAR-10 as an archive that every peer reads, written once: all its training images, and its test images."""
    path = folder / "data" / "cifar10.npz"
    if path.exists():
        return path
    from rung.data import find_source, materialise

    data = materialise(find_source("cifar10"))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("incomplete.npz")
    np.savez(
        temporary,
        x_train=np.concatenate([data.train.take(slice(None)), data.val.take(slice(None))]),
        y_train=np.concatenate([data.train.labels, data.val.labels]),
        x_test=data.test.take(slice(None)),
        y_test=data.test.labels,
    )
    temporary.replace(path)
    return path
