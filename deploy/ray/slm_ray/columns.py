"""What a job adds to its rows: the names and types of an answer's parts, and rows of a table or of JSON with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from .engine import Answer

ERROR = "error"
# Said only where there is something to say.
REMARKS: dict[str, pa.DataType] = {"rejected": pa.string(), "done_reason": pa.string(), "truncated": pa.int64()}
PREFIX = "slm_"
TYPES: dict[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "string": pa.string(),
    "vector": pa.list_(pa.float32()),
}


@dataclass(frozen=True)
class Columns:
    """Names as slm writes them with the names of their types (`TYPES`), and what stands before all of them."""

    types: tuple[tuple[str, str], ...]
    prefix: str = ""

    @staticmethod
    def of(answer: Answer, schema: Any, taken: Iterable[str]) -> Columns:
        """Those of an answer in a format, beside columns that have these names."""
        types = {name: _type(value, _of_field(schema, name)) for name, value in answer.items() if name not in REMARKS}
        names = {*types, *REMARKS, ERROR}
        return Columns(tuple(types.items()), PREFIX if names & set(taken) else "")

    def table(self, table: pa.Table, answers: Sequence[Answer]) -> pa.Table:
        """The table with the answers to its rows."""
        answers = [self._fitting(answer) for answer in answers]
        for name, kind in self.types:
            values = [None if (value := answer.get(name)) is None else _cell(value, kind) for answer in answers]
            table = table.append_column(self.prefix + name, pa.array(values, TYPES[kind]))
        for name, own in [*self._remarks().items(), (ERROR, pa.string())]:
            table = table.append_column(self.prefix + name, pa.array([answer.get(name) for answer in answers], own))
        return table

    def line(self, line: bytes, record: Any, answer: Answer) -> bytes:
        """A record's own bytes with its answer added, as `slm run --jsonl` adds it."""
        if not isinstance(record, dict):
            return json.dumps({"line": line.decode(errors="replace"), **answer}, ensure_ascii=False).encode()
        added = {self.prefix + name: value for name, value in answer.items()}
        taken = next((name for name in added if name in record), None)
        if taken is not None:
            added = {"slm_error" if ERROR in record else ERROR: f"the record has a field `{taken}` already"}
        text = json.dumps(added, ensure_ascii=False, separators=(",", ":")).encode()
        return line.rstrip()[:-1] + (b"," if record else b"") + text[1:]

    def _remarks(self) -> dict[str, pa.DataType]:
        """Those that a table has a column for: all where answers are written, and one where texts are cut."""
        names = [name for name, _ in self.types]
        is_scored = any(name == "probability" or name.endswith("_probability") for name in names)
        is_measured = names in (["embedding"], ["score"])
        return {"truncated": REMARKS["truncated"]} if is_scored or is_measured else REMARKS

    def _fitting(self, answer: Answer) -> Answer:
        """The answer, or that a value of it is of another type than its column."""
        for name, kind in self.types:
            value = answer.get(name)
            if value is not None and not _is(value, kind):
                return {ERROR: f"`{name}` is `{json.dumps(value)}`, which a column of the type `{kind}` cannot hold"}
        return answer


def _is(value: Any, kind: str) -> bool:
    """Whether a column of this type can hold the value; a text holds anything, as JSON."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "bool": isinstance(value, bool),
        "int": is_number and isinstance(value, int),
        "float": is_number,
        "vector": isinstance(value, list),
    }.get(kind, True)


def _cell(value: Any, kind: str) -> Any:
    return json.dumps(value, ensure_ascii=False) if kind == "string" and not isinstance(value, str) else value


def _of_field(schema: Any, name: str) -> Any:
    """The schema of an answer's part; `None` where the format says nothing of it."""
    if name == "label" and isinstance(schema, dict) and "properties" not in schema:
        return schema
    for step in name.split("."):
        properties = schema.get("properties") if isinstance(schema, dict) else None
        schema = properties.get(step) if isinstance(properties, dict) else None
    return schema


def _type(value: Any, schema: Any) -> str:
    """A column's type by its schema, else by a value."""
    if isinstance(schema, dict):
        if "enum" in schema or "const" in schema:
            allowed = [one for one in schema.get("enum", [schema.get("const")]) if one is not None]
            kinds = {_type_of(one) for one in allowed}
            return kinds.pop() if len(kinds) == 1 else "string"
        named = schema.get("type")
        named = [named] if isinstance(named, str) else named or []
        named = [one for one in named if one != "null"]
        by_name = {"boolean": "bool", "integer": "int", "number": "float"}
        return by_name.get(named[0], "string") if len(named) == 1 else "string"
    return _type_of(value)


def _type_of(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(one, float | int) for one in value):
        return "vector"
    return {bool: "bool", int: "int", float: "float"}.get(type(value), "string")
