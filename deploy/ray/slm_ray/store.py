"""The model on this node: found in slm's store, pulled, or made from a Modelfile. Knows commands of slm, no texts."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class StoreError(Exception):
    """The model cannot be had on this node."""


@dataclass(frozen=True)
class Model:
    """A model of this node's store."""

    name: str
    digest: str
    # The format that its Modelfile pins, a JSON Schema.
    format: Any


def prepare(slm: str, model: str, modelfile: str | None) -> Model:
    """The model, which is pulled or made where the store lacks it. Engines of one node wait for each other."""
    with (Path(tempfile.gettempdir()) / f"slm-ray-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if modelfile is not None:
            model = f"{model}-{hashlib.sha256(modelfile.encode()).hexdigest()[:12]}"
            _run([slm, "create", model, "--yes", "--file", "-"], modelfile)
        elif _show(slm, model) is None:
            _run([slm, "pull", model], "")
        shown = _show(slm, model)
    if shown is None:
        raise StoreError(f"there is no model `{model}` after it was pulled")
    return Model(shown["name"], shown["digest"], shown.get("format"))


def version(slm: str) -> str:
    """What the binary calls itself."""
    return _run([slm, "--version"], "").strip()


def _show(slm: str, model: str) -> dict[str, Any] | None:
    try:
        shown: dict[str, Any] = json.loads(_run([slm, "show", "--json", model], ""))
    except StoreError as error:
        if "there is no model" in str(error):
            return None
        raise
    return shown


def _run(command: list[str], stdin: str) -> str:
    called = f"`{' '.join(command[:3])}`"
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except OSError as error:
        raise StoreError(f"{called} cannot be run on this node: {error.strerror}; install slm there, or give --slm") from error
    if done.returncode != 0:
        said = done.stderr.strip().removeprefix("slm: ")
        raise StoreError(f"{called} ended with exit code {done.returncode}: {said}")
    return done.stdout
