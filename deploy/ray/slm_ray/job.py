"""A whole job: every part of the input is asked by an actor of Ray Data, and written once under a name of its own.

Ray's writers name files by a number of the run, so that a second run of a job writes all rows again. Here a part's name follows
from the input alone: what a node wrote before it died, or a job before it was killed, is there and is not asked again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from .engine import EngineError, Task
from .parts import LINES, Input, plan, read_lines
from .stage import Described, describe
from .storage import Folder
from .worker import Done, Missing, Work, Worker, at, cells, parsed

JOB, SUCCESS = "_job.json", "_SUCCESS"
N_SAMPLED = 8
# Actors that end while they start, one after the other, before that is taken for the job's fault and not a node's.
ACTOR_STARTS = 3


class JobError(Exception):
    """The job cannot begin, with what to do."""


class Stopped(Exception):
    """The job cannot go on: no engine starts, or Ray ends."""


@dataclass(frozen=True)
class Job:
    """What is to be done, and with how much of the cluster."""

    task: Task
    input: list[str]
    output: str
    # A name, or a JSON pointer into structures.
    column: str
    # Engines at once; `None`: as many as the cluster has room for.
    n_engines: int | None = None
    bytes_per_engine: int | None = None
    rows_per_part: int = 2000
    bytes_per_part: int = 1 << 20


@dataclass
class Report:
    """How a run of a job goes."""

    n_parts: int
    # Parts that an earlier run has written.
    n_kept: int
    n_done: int = 0
    n_rows: int = 0
    n_failed: int = 0
    seconds: float = 0.0
    undone: list[Done] = field(default_factory=list)

    def add(self, done: Done) -> None:
        """Counts a part."""
        if done.undone is not None:
            self.undone.append(done)
            return
        self.n_done += 1
        self.n_rows += done.n_rows
        self.n_failed += done.n_failed


def run(job: Job, progress: Callable[[Report], None]) -> Report:
    """Does what is left of a job. Ray must be connected."""
    planned = plan(job.input, job.rows_per_part, job.bytes_per_part)
    output = Folder.at(job.output)
    described = _described(job, planned)
    _begin(output, _identity(job, planned, described))
    written = output.names()
    left = [part for part in planned.parts if part.file_name(planned.ending) not in written]
    report = Report(len(planned.parts), len(planned.parts) - len(left))
    started = time.monotonic()
    if left:
        work = Work(job.task, job.input[0], job.output, job.column, planned.ending)
        # A block for each part: it is what an actor is given at a time, and gets again when an actor was lost.
        parts = ray.data.from_items([asdict(part) for part in left], override_num_blocks=len(left))
        dones = parts.map_batches(
            Worker,
            batch_size=1,
            batch_format="pyarrow",
            compute=_pool(job, len(left)),
            fn_constructor_kwargs={"work": work, "described": described},
            num_cpus=job.task.n_threads,
            memory=job.bytes_per_engine,
        )
        try:
            for row in dones.iter_rows():
                report.add(Done(**row))
                report.seconds = time.monotonic() - started
                progress(report)
        except (ray.exceptions.RayError, RuntimeError) as error:
            raise Stopped(f"{_cause(error)}; {report.n_done} parts were written; run the same command again") from error
    if not report.undone:
        output.remove_unfinished()
        output.publish(SUCCESS, json.dumps({"parts": report.n_parts}).encode())
    return report


def connect(address: str | None) -> None:
    """Connects to a cluster, whose nodes get this package, and sets what Ray Data does about failures."""
    import slm_ray

    ray.init(
        address=address,
        runtime_env={"py_modules": [slm_ray]},
        ignore_reinit_error=True,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    context = ray.data.DataContext.get_current()
    context.max_consecutive_actor_init_deaths = ACTOR_STARTS
    context.enable_progress_bars = False
    context.print_on_execution_start = False


def _pool(job: Job, n_left: int) -> ray.data.ActorPoolStrategy:
    """Grows with the cluster up to the asked number. A part waits at each engine beside the one in work, no more: with one alone,
    Ray Data would take no pool for busy and add no engines."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    rooms = [int(node["Resources"].get("CPU", 0)) // job.task.n_threads for node in nodes if node["Alive"]]
    n_engines = min(job.n_engines or max(sum(rooms), 1), n_left)
    return ray.data.ActorPoolStrategy(min_size=1, max_size=n_engines, initial_size=n_engines, max_tasks_in_flight_per_actor=2)


def _described(job: Job, planned: Input) -> Described:
    """Asks the first rows on a node, as the driver's machine may have no slm. Thus a wrong task is known before all rows."""
    texts, taken = _sample(planned, job.column)
    remote = ray.remote(describe).options(num_cpus=job.task.n_threads, max_retries=ACTOR_STARTS)
    try:
        described: Described = ray.get(remote.remote(job.task, texts, taken))
    except ray.exceptions.RayTaskError as error:
        raise (JobError(str(error.cause)) if isinstance(error.cause, EngineError) else error) from error
    return described


def _sample(planned: Input, column: str) -> tuple[list[Any], list[str]]:
    """The first texts that have any, and the names of the columns."""
    if not planned.parts:
        raise JobError("the input has no rows")
    first = planned.parts[0]
    if planned.ending in LINES:
        records = [parsed(line) for line in read_lines(planned.files, first)]
        names = [name for record in records if not isinstance(record, Missing) for name in record]
        found = [text for record in records if not isinstance(text := at(record, column), Missing)]
        if not found:
            raise JobError(f"none of the first {len(records)} records has `{column}`; they have {_listed(names)}")
        return _filled(found), list(dict.fromkeys(names))
    with planned.files.open_input_file(first.path) as source:
        file = pq.ParquetFile(source)
        schema = file.schema_arrow
        kind = _kind(schema, column)
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)):
            raise JobError(f"`{column}` of `{first.path}` is {kind}, not text")
        batch = next(file.iter_batches(batch_size=1024))
    return _filled(cells(pa.Table.from_batches([batch]), column)), schema.names


def _filled(texts: list[Any]) -> list[Any]:
    return [text for text in texts if isinstance(text, str) and text.strip()][:N_SAMPLED] or texts[:N_SAMPLED]


def _cause(error: BaseException) -> str:
    """What was raised where the work is done, without the way that it came."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    of_engine = [line.split("EngineError: ", 1)[1] for line in lines if "EngineError: " in line]
    return [*of_engine, *reversed(lines), "Ray ended"][0]


def _kind(schema: pa.Schema, column: str) -> pa.DataType:
    """The type of a column."""
    fields: Any = schema
    for step in column.removeprefix("/").split("/") if column.startswith("/") else [column]:
        index = fields.get_field_index(step) if not isinstance(fields, pa.DataType) or pa.types.is_struct(fields) else -1
        if index < 0:
            raise JobError(f"there is no column `{column}`; there are {_listed(schema.names)}")
        fields = fields.field(index).type
    found: pa.DataType = fields
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names)) or "none"


def _identity(job: Job, planned: Input, described: Described) -> dict[str, Any]:
    """All that the output's rows depend on."""
    task = asdict(job.task) | {"model": described.digest, "slm": described.slm_version}
    del task["row_timeout_s"]
    return {
        "input": [[file.path, file.n_bytes] for file in planned.listed],
        "column": job.column,
        "rows_per_part": job.rows_per_part,
        "bytes_per_part": job.bytes_per_part,
        "task": task,
        "columns": asdict(described.columns),
    }


def _begin(output: Folder, identity: dict[str, Any]) -> None:
    """Says in the output whose it is; an output of another job is left alone."""
    text = json.dumps(identity, indent=1).encode()
    there = output.read(JOB)
    if there is None:
        if strangers := output.names():
            raise JobError(f"the output has files of something else, such as `{min(strangers)}`; give an empty folder")
        output.publish(JOB, text)
        return
    earlier, now = json.loads(there), json.loads(text)
    changed = [name for name in now if earlier.get(name) != now[name]]
    if changed:
        raise JobError(
            f"the output belongs to a job with another {', '.join(f'`{name}`' for name in changed)} "
            f"(see its `{JOB}`); give another folder, or run that job again"
        )
