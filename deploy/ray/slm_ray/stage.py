"""slm as a stage of any Ray Data pipeline: batches of a table in, the same batches with an answer's columns out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from . import store
from .columns import ERROR, Columns
from .engine import Engine, EngineError, Task


@dataclass(frozen=True)
class Described:
    """What a task adds to rows, and by what."""

    columns: Columns
    # The model's, of its manifest.
    digest: str
    slm_version: str


class Answers:
    """For `Dataset.map_batches` with `batch_format="pyarrow"`: an actor that keeps its model."""

    def __init__(self, task: Task, column: str, described: Described) -> None:
        self._engine = engine(task, described.digest)
        self._column = column
        self._columns = described.columns

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Answers a batch."""
        texts = batch.column(self._column).to_pylist()
        return self._columns.table(batch, list(self._engine.answers(texts)))


def engine(task: Task, digest: str) -> Engine:
    """An engine whose model is the one of this digest: a tag may have moved between one node's pull and another's."""
    made = Engine(task)
    if made.model.digest != digest:
        made.close()
        raise EngineError(
            f"`{made.model.name}` is {made.model.digest[:12]} on this node and {digest[:12]} on another; "
            "pull it anew there, or name it by a tag that does not move"
        )
    return made


def describe(task: Task, texts: Sequence[Any], taken: Iterable[str]) -> Described:
    """Asks the task of a few texts, to find its columns; `taken` are the names that rows have. Runs where slm is."""
    made = Engine(task)
    try:
        answers = list(made.answers(texts))
        answer = next((answer for answer in answers if ERROR not in answer), None)
        if answer is None:
            why = answers[0][ERROR] if answers else "there are no rows"
            raise EngineError(f"none of the first {len(answers)} rows has an answer: {why}")
        schema = task.schema if task.schema is not None else made.model.format
        return Described(Columns.of(answer, schema, taken), made.model.digest, store.version(task.slm))
    finally:
        made.close()
