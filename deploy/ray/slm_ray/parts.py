"""The parts of a job: a slice of one input file becomes one output file, whose name says which.

The same input gives the same parts. A part is what is asked again when a node dies, and what is skipped when a job is run again:
its file is there, or it is not.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from .storage import File, StorageError, find

PARQUET = (".parquet", ".pq")
LINES = (".jsonl", ".ndjson")
PACKED_LINES = tuple(f"{ending}.{packing}" for ending in LINES for packing in ("gz", "bz2", "zst", "lz4"))
READERS = 32
CHUNK = 1 << 16


@dataclass(frozen=True)
class Part:
    """Rows `start` to `stop` of a Parquet file, or the lines that begin in these bytes of a file of lines."""

    number: int
    path: str
    start: int
    stop: int

    def file_name(self, ending: str) -> str:
        """The name of its output."""
        return f"part-{self.number:06}{ending}"


@dataclass(frozen=True)
class Input:
    """All parts of the files at some places."""

    files: fs.FileSystem
    listed: list[File]
    # `.parquet` or `.jsonl`, for input and output.
    ending: str
    parts: list[Part]


def plan(uris: list[str], rows_per_part: int, bytes_per_part: int) -> Input:
    """Cuts the input into parts."""
    files, listed = find(uris, PARQUET + LINES + PACKED_LINES)
    are_tables = {file.path.endswith(PARQUET) for file in listed}
    if len(are_tables) > 1:
        raise StorageError("the input has both Parquet and JSONL files; run a job for each")
    if are_tables == {True}:
        with ThreadPoolExecutor(READERS) as pool:
            lengths = list(pool.map(lambda file: _n_rows(files, file.path), listed))
        slices, ending = [_slices(length, rows_per_part) for length in lengths], PARQUET[0]
    else:
        # A packed file can only be read from its beginning.
        packed = [file.path.endswith(PACKED_LINES) for file in listed]
        slices = [
            _slices(file.n_bytes, max(file.n_bytes, 1) if is_packed else bytes_per_part)
            for file, is_packed in zip(listed, packed, strict=True)
        ]
        ending = LINES[0]
    numbers = itertools.count()
    parts = [Part(next(numbers), file.path, start, stop) for file, own in zip(listed, slices, strict=True) for start, stop in own]
    return Input(files, listed, ending, parts)


def _slices(length: int, at_most: int) -> list[tuple[int, int]]:
    """`length` in slices of nearly the same size, none above `at_most`."""
    n_slices = -(-length // at_most)
    borders = [length * number // n_slices for number in range(n_slices + 1)] if n_slices else []
    return list(itertools.pairwise(borders))


def _n_rows(files: fs.FileSystem, path: str) -> int:
    try:
        with files.open_input_file(path) as file:
            n_rows: int = pq.read_metadata(file).num_rows
    except pa.ArrowInvalid as error:
        raise StorageError(f"`{path}`: {error}") from error
    return n_rows


def read_table(files: fs.FileSystem, part: Part) -> pa.Table:
    """The rows of a part. No more than a batch beside them is held in memory."""
    with files.open_input_file(part.path) as source:
        file = pq.ParquetFile(source)
        groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        ends = list(itertools.accumulate(groups))
        first, last = bisect.bisect_right(ends, part.start), bisect.bisect_left(ends, part.stop)
        position = ends[first] - groups[first]
        kept: list[pa.RecordBatch] = []
        for batch in file.iter_batches(batch_size=1024, row_groups=list(range(first, last + 1))):
            start, stop = max(part.start - position, 0), min(part.stop - position, len(batch))
            if start < stop:
                kept.append(batch.slice(start, stop - start))
            position += len(batch)
            if position >= part.stop:
                break
        return pa.Table.from_batches(kept, schema=file.schema_arrow)


def read_lines(files: fs.FileSystem, part: Part) -> list[bytes]:
    """The lines of a part without their ends; blank ones are left out."""
    if part.path.endswith(PACKED_LINES):
        with files.open_input_stream(part.path, compression="detect") as stream:
            lines = stream.read().split(b"\n")
    else:
        with files.open_input_file(part.path) as file:
            lines = list(_beginning_in(file, part))
    return [line for line in (line.strip(b"\r") for line in lines) if line.strip()]


def _beginning_in(file: pa.NativeFile, part: Part) -> Iterator[bytes]:
    # From the byte before: a line begins at `start` where that byte ends one.
    before = min(part.start, 1)
    file.seek(part.start - before)
    data = file.read(part.stop - part.start + before)
    while not data.endswith(b"\n") and (more := file.read(CHUNK)):
        end = more.find(b"\n")
        data += more if end < 0 else more[: end + 1]
    lines = data.split(b"\n")
    # Before the first line end stands a line of the part before; after the last, nothing or the end of the file.
    yield from lines[before:]
