"""One slm process that answers texts: `slm run MODEL --jsonl`, kept for as long as its owner lives. Knows nothing of Ray.

A pipe is enough: slm answers every line in its order, says in a row's place why it has no answer, reads no further ahead than
it works (which is the back-pressure), and ends when its standard input does: an owner that is killed leaves no process behind.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from . import store

Answer = dict[str, Any]

# As many rows as slm may have begun when its process ends: any of them may be the one that ends it.
MAX_ROWS_IN_FLIGHT = 64
# A row that has ended the process so often, asked alone, is the cause.
MAX_DEATHS_OF_A_ROW = 2
START_ATTEMPTS = 3
TEXT = "text"


class EngineError(Exception):
    """The process cannot be started, so that no text has an answer here."""


class _Died(Exception):
    """The process ended, or was ended, before it had answered."""


@dataclass(frozen=True)
class Task:
    """What is asked of every text: a model, or a Modelfile that every node makes one of, and options of `slm run`."""

    model: str
    slm: str = "slm"
    modelfile: str | None = None
    # Flags with their values. A value is passed as a file where it is an `Attached`.
    options: tuple[tuple[str, str | Attached], ...] = ()
    n_threads: int = 1
    # Seconds that a single row may take, before its process is taken for stuck.
    row_timeout_s: float = 600.0

    @property
    def schema(self) -> Any:
        """The format that the options ask for, a JSON Schema; `None` where they ask for none, or in another language."""
        for flag, value in self.options:
            if flag == "--format":
                with contextlib.suppress(ValueError):
                    return json.loads(value.contents if isinstance(value, Attached) else value)
        return None


@dataclass(frozen=True)
class Attached:
    """The contents of a file that an option names as `@FILE`."""

    contents: str


@dataclass
class _Process:
    """A running slm with the ends of its pipes."""

    child: subprocess.Popen[bytes]
    lines: _Lines
    said: collections.deque[str]
    listener: threading.Thread


@dataclass
class Engine:
    """A model that is ready. `close` it, or let it be collected."""

    task: Task
    model: store.Model = field(init=False)
    _folder: str = field(init=False)
    _process: _Process | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        try:
            self.model = store.prepare(self.task.slm, self.task.model, self.task.modelfile)
        except store.StoreError as error:
            raise EngineError(str(error)) from error
        self._folder = tempfile.mkdtemp(prefix="slm-ray-")
        self._start()

    def answers(self, texts: Sequence[Any]) -> Iterator[Answer]:
        """The answer to each text in its order: the keys of `slm run --json`, of which `error` says why a row has no other."""
        n_done = n_deaths = alone_until = 0
        while n_done < len(texts):
            last = n_done + 1 if n_done < alone_until else len(texts)
            begun = n_done
            try:
                for answer in self._stream(texts[begun:last]):
                    yield answer
                    n_done, n_deaths = n_done + 1, 0
            except _Died as died:
                n_deaths += last == begun + 1
                alone_until = max(alone_until, n_done + MAX_ROWS_IN_FLIGHT)
                self._start()
                if n_deaths == MAX_DEATHS_OF_A_ROW:
                    yield {"error": f"slm ended {n_deaths} times while it answered this row: {died}"}
                    n_done, n_deaths = n_done + 1, 0

    def close(self) -> None:
        """Ends the process and removes its files."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __del__(self) -> None:
        if hasattr(self, "_folder"):
            self.close()

    def _start(self) -> None:
        """Starts the process anew, and has it answer once before it is trusted."""
        self._end()
        why = ""
        for attempt in range(START_ATTEMPTS):
            time.sleep(attempt)
            try:
                self._process = self._spawn()
                next(self._stream(["ready?"]))
                return
            except (_Died, OSError) as error:
                why = str(error)
                self._end()
        raise EngineError(f"`{' '.join(self._command()[:3])}` does not start: {why}")

    def _command(self) -> list[str]:
        command = [self.task.slm, "run", self.model.name, "--local", "--jsonl", TEXT, "--json=flat"]
        command += ["--num-thread", str(self.task.n_threads)]
        for number, (flag, value) in enumerate(self.task.options):
            if isinstance(value, Attached):
                path = Path(self._folder) / f"{number}"
                path.write_text(value.contents, encoding="utf-8")
                value = f"@{path}"
            command += [f"{flag}={value}"]
        return command

    def _spawn(self) -> _Process:
        pipe = subprocess.PIPE
        child = subprocess.Popen(self._command(), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
        assert child.stdout is not None and child.stderr is not None, "pipes were asked for"
        said: collections.deque[str] = collections.deque(maxlen=8)
        listener = threading.Thread(target=_listen, args=(child.stderr, said), daemon=True)
        listener.start()
        return _Process(child, _Lines(child.stdout.fileno()), said, listener)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.child.kill()
        process.child.wait()
        for pipe in (process.child.stdin, process.child.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _stream(self, texts: Sequence[Any]) -> Iterator[Answer]:
        """Hands texts over as fast as they are read, and gives each answer as it comes."""
        process = self._process
        assert process is not None, "a started engine has a process"
        writer = threading.Thread(target=_write, args=(process.child.stdin, texts), daemon=True)
        writer.start()
        for _ in texts:
            line = process.lines.next(self.task.row_timeout_s)
            if line is None:
                raise _Died(self._last_words(process))
            answer: Answer = json.loads(line)
            answer.pop(TEXT, None)
            yield answer
        writer.join()

    def _last_words(self, process: _Process) -> str:
        if process.child.poll() is None and not process.lines.is_at_end:
            return f"no answer within {self.task.row_timeout_s:g} s"
        code = process.child.wait()
        process.listener.join(1)
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        # What it says of rows that fail stands in the rows.
        words = [line for line in process.said if not line.startswith("slm: line ")]
        return "; ".join([how, *words])


class _Lines:
    """Lines from a pipe, with a limit on the time until each."""

    def __init__(self, descriptor: int) -> None:
        self.is_at_end = False
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN | select.POLLHUP)
        self._buffer = bytearray()
        self._searched = 0

    def next(self, timeout_s: float) -> bytes | None:
        """The next line; `None` at the end of the pipe, or where none came in time."""
        until = time.monotonic() + timeout_s
        while (end := self._buffer.find(b"\n", self._searched)) < 0:
            self._searched = len(self._buffer)
            left = until - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                return None
            read = os.read(self._descriptor, 1 << 16)
            if not read:
                self.is_at_end = True
                return None
            self._buffer += read
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return line


def _write(pipe: BinaryIO, texts: Sequence[Any]) -> None:
    # A process that ends while it is written to is noticed where its answers are read.
    with contextlib.suppress(OSError, ValueError):
        for text in texts:
            pipe.write(json.dumps({TEXT: text}).encode() + b"\n")
            pipe.flush()


def _listen(pipe: BinaryIO, said: collections.deque[str]) -> None:
    with contextlib.suppress(OSError, ValueError), pipe:
        for line in pipe:
            said.append(line.decode(errors="replace").strip())
