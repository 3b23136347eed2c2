"""Named checks against a running server, one line each: `ok NAME`, `FAILED NAME: why` or `skipped NAME: why`.

A script imports a client, marks functions with `@check(endpoint, what)` and ends with `run(package)`. The server's address and the
names of the models that it has come from the environment, so that a script also runs by hand against any server:

    SLM_URL=http://127.0.0.1:11434 tests/clients/ollama_client.py
"""

import asyncio
import contextlib
import importlib.metadata
import inspect
import os
import signal
import sys
import traceback

URL = os.environ.get("SLM_URL", "http://127.0.0.1:11434")
# Says FOX, whatever it is asked.
FOX_MODEL = os.environ.get("SLM_FOX", "fox")
FOX = "The quick brown fox\njumps over the lazy dog."
# What its template writes in front of an answer; whoever gives a raw prompt writes it as well.
ANSWER = "<|answer|>"
# Says `ab` without end.
ENDLESS_MODEL = os.environ.get("SLM_ENDLESS", "endless")
# Calls WEATHER_CALL and ends its turn.
CALLER_MODEL = os.environ.get("SLM_CALLER", "caller")
# Thinks THOUGHT, then says CONCLUSION.
THINKER_MODEL = os.environ.get("SLM_THINKER", "thinker")
THOUGHT, CONCLUSION = "Two and two.", "Four."
# Trained and small: its answer to any text is billing, shipping and so on.
TRIAGE_MODEL = "triage"
# Its answer to any text is one of LABELS, by a format of its own.
LABEL_MODEL = os.environ.get("SLM_LABEL", "sorter")
LABELS = ["billing", "shipping", "other"]
# Vectors of 32 numbers.
EMBEDDING_MODEL = os.environ.get("SLM_EMBEDDING", "bert")
DOUBLE_CHARGE = "I was charged twice for order 1182"
# As long as one check may take.
PATIENCE = int(os.environ.get("SLM_PATIENCE", "60"))

_checks = []


class Skipped(Exception):
    """A check that cannot run here; its text says why."""


def check(endpoint, what):
    """Registers a function, plain or async, as the check of `endpoint` that `what` names."""

    def register(function):
        _checks.append((f"{endpoint}: {what}", function))
        return function

    return register


def run(*packages):
    """Runs all checks in their order and ends the process: 0 where none failed. The first of the packages is the client."""
    if packages:
        versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
        print(f"client {versions}", flush=True)
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    failed = [name for name, function in _checks if only in name and not passes(name, function)]
    sys.exit(1 if failed else 0)


def passes(name, function):
    """Runs one check and prints its line."""
    signal.signal(signal.SIGALRM, _out_of_patience)
    signal.alarm(PATIENCE)
    try:
        if inspect.iscoroutinefunction(function):
            asyncio.run(function())
        else:
            function()
        print(f"ok {name}", flush=True)
    except Skipped as why:
        print(f"skipped {name}: {why}", flush=True)
    except BaseException as error:  # pylint: disable=broad-except
        signal.alarm(0)
        why = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"FAILED {name}: {why[:600]}", flush=True)
        traceback.print_exc()
        return False
    finally:
        signal.alarm(0)
    return True


def _out_of_patience(*_):
    raise TimeoutError(f"it took longer than {PATIENCE} s")


def equal(found, expected):
    """The two are the same, or both are shown."""
    assert found == expected, f"{found!r} is not {expected!r}"


def near(found, expected, by=1e-4):
    assert abs(found - expected) <= by, f"{found!r} is not {expected!r}"


def sums_to_one(numbers):
    """They are a probability distribution."""
    numbers = list(numbers)
    assert all(0 <= number <= 1 for number in numbers), f"{numbers} are no probabilities"
    near(sum(numbers), 1)


def is_label(text, slm=None):
    """The text is a bare label, and what is known of it says so, where it is shown."""
    assert text in LABELS, f"{text!r} is none of {LABELS}"
    if slm is not None:
        (field,) = slm["fields"]
        equal((field["name"], field["value"]), (None, text))
        equal([one["value"] for one in field["probabilities"]], LABELS)
        best, second, _ = sorted((one["probability"] for one in field["probabilities"]), reverse=True)
        sums_to_one(one["probability"] for one in field["probabilities"])
        near(field["probability"], best)
        near(field["margin"], best - second)
        assert 0 < field["label_mass"] <= 1 and "confidence" not in field, field


@contextlib.contextmanager
def raises(kind, *texts, **attributes):
    """The block raises an error of this class, whose text has all `texts` and whose attributes are these."""
    try:
        yield
    except kind as error:
        for text in texts:
            assert text in str(error), f"{text!r} is not in {str(error)!r}"
        for name, value in attributes.items():
            equal((name, getattr(error, name)), (name, value))
        return
    raise AssertionError(f"no {kind.__name__} was raised")


def get(path):
    """A plain GET, by no client: its status and its text."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(URL + path, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
