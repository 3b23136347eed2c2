"""An actor of Ray Data: an engine that is kept, and parts that are read, asked and written under their names."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from .columns import ERROR
from .engine import Answer, Engine, Task
from .parts import PARQUET, Part, read_lines, read_table
from .stage import Described, engine
from .storage import Folder, locate

STORAGE_ATTEMPTS = 3


@dataclass(frozen=True)
class Work:
    """What is done with every part."""

    task: Task
    # Any place of the input, for its storage.
    input: str
    output: str
    # A name, or a JSON pointer into structures.
    column: str
    # Of the output's files: `.parquet` or `.jsonl`.
    ending: str


@dataclass(frozen=True)
class Done:
    """How a part ended."""

    part: str
    n_rows: int = 0
    n_failed: int = 0
    # Why there is no file of it.
    undone: str | None = None


TYPES: dict[str, pa.DataType] = {"part": pa.string(), "n_rows": pa.int64(), "n_failed": pa.int64(), "undone": pa.string()}
DONE = pa.schema(TYPES)


class Worker:
    """For `Dataset.map_batches` over parts: a table of `Part`s in, a table of `Done`s out."""

    def __init__(self, work: Work, described: Described) -> None:
        self._work, self._columns = work, described.columns
        self._engine = engine(work.task, described.digest)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Does some parts."""
        return pa.Table.from_pylist([asdict(self._finish(Part(**part))) for part in batch.to_pylist()], DONE)

    def _finish(self, part: Part) -> Done:
        """Reads, asks and writes. A storage that fails is asked again; an engine that does not start ends the job."""
        name, why = part.file_name(self._work.ending), ""
        for attempt in range(STORAGE_ATTEMPTS):
            time.sleep(2**attempt - 1)
            try:
                files, _ = locate(self._work.input)
                contents, answers = self._answered(files, part)
                Folder.at(self._work.output).publish(name, contents)
                return Done(name, len(answers), sum(ERROR in answer for answer in answers))
            except (OSError, pa.ArrowException) as error:
                why = str(error)
        return Done(name, undone=why)

    def _answered(self, files: fs.FileSystem, part: Part) -> tuple[memoryview | bytes, list[Answer]]:
        """The output's bytes, and the answers in them."""
        if self._work.ending in PARQUET:
            table = read_table(files, part)
            answers = list(self._engine.answers(cells(table, self._work.column)))
            sink = pa.BufferOutputStream()
            pq.write_table(self._columns.table(table, answers), sink)
            return memoryview(sink.getvalue()), answers
        lines = read_lines(files, part)
        records = [parsed(line) for line in lines]
        answers = answered_records(self._engine, records, self._work.column)
        rows = zip(lines, records, answers, strict=True)
        return b"".join(self._columns.line(*row) + b"\n" for row in rows), answers


def answered_records(engine: Engine, records: Sequence[Any], column: str) -> list[Answer]:
    """The answers to records, those that have no text included."""
    texts = [at(record, column) for record in records]
    asked = iter(engine.answers([text for text in texts if not isinstance(text, Missing)]))
    return [{ERROR: text.why} if isinstance(text, Missing) else next(asked) for text in texts]


@dataclass(frozen=True)
class Missing:
    """No text, and why."""

    why: str


def parsed(line: bytes) -> Any:
    """A line's record, or why it is none."""
    try:
        record = json.loads(line)
    except ValueError as error:
        return Missing(f"this line is not JSON: {error}")
    return record if isinstance(record, dict) else Missing("this line is JSON but not an object")


def at(record: Any, column: str) -> Any:
    """The value of a record's column."""
    if isinstance(record, Missing):
        return record
    for step in column.removeprefix("/").split("/") if column.startswith("/") else [column]:
        if not isinstance(record, dict) or step not in record:
            return Missing(f"there is no `{column}`")
        record = record[step]
    return record


def cells(table: pa.Table, column: str) -> list[Any]:
    """The values of a table's column; null where a structure on the way to it is null."""
    steps = column.removeprefix("/").split("/") if column.startswith("/") else [column]
    values: list[Any] = table.column(steps[0]).to_pylist()
    for step in steps[1:]:
        values = [None if value is None else value[step] for value in values]
    return values
