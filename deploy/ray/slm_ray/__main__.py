"""The command line: `python -m slm_ray --input … --output … --model … --column …`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .engine import Attached, EngineError, Task
from .job import Job, JobError, Report, Stopped, connect, run
from .storage import StorageError, absolute

PROGRAM = "slm-ray"
SECONDS_BETWEEN_LINES = 5.0


def main() -> int:
    """Runs a job. 0: every row has its place in the output; 1: parts are missing; 2: the job cannot begin."""
    arguments = _parser().parse_args()
    try:
        job = _job(arguments)
        connect(arguments.address)
        report = run(job, _progress())
    except (JobError, StorageError, EngineError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except Stopped as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    for done in report.undone:
        print(f"{PROGRAM}: {done.part}: {done.undone}", file=sys.stderr)
    if report.undone:
        print(f"{PROGRAM}: {_counted(len(report.undone), 'part')} not written; run the same command again", file=sys.stderr)
    print(_line(report), file=sys.stderr)
    return 1 if report.undone else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Runs a task of slm over Parquet or JSONL on a Ray cluster.")
    add = parser.add_argument
    add("--input", nargs="+", required=True, metavar="PLACE", help="files or folders: paths, s3://…, gs://…, hdfs://…")
    add("--output", required=True, metavar="PLACE", help="folder for the results; the same command again continues there")
    add("--model", required=True, help="name of a model, pulled where a node lacks it")
    add("--modelfile", metavar="FILE", help="make the model on each node from this Modelfile")
    add("--column", required=True, help="column with the text; /a/b inside structures")
    add("--choices", metavar="A,B|@FILE", help="answer with one of these labels, as `slm run --choices`")
    add("--format", metavar="SCHEMA|@FILE", help="answer in this JSON Schema, as `slm run --format`")
    add("--system", metavar="TEXT", help="system message, as `slm run --system`")
    add("--option", action="append", default=[], metavar="NAME=VALUE", help="any other option of `slm run`, such as num-ctx=4096")
    add("--engines", type=_positive, metavar="N", help="engines at once [default: as many as the cluster has room for]")
    add("--cpus", type=_positive, default=1, metavar="N", help="processors, and threads, of an engine [default: 1]")
    add("--memory", type=_positive, metavar="MB", help="memory that Ray reserves for an engine")
    add("--rows-per-part", type=_positive, default=2000, metavar="N", help="rows of a Parquet part [default: 2000]")
    add("--bytes-per-part", type=_positive, default=1 << 20, metavar="N", help="bytes of a JSONL part [default: 1 MiB]")
    add("--row-timeout", type=float, default=600.0, metavar="SECONDS", help="time for one row [default: 600]")
    add("--slm", default="slm", metavar="PATH", help="the binary on the nodes [default: slm, from PATH]")
    add("--address", help="the cluster [default: that of `ray start` or RAY_ADDRESS, else this machine]")
    return parser


def _job(arguments: argparse.Namespace) -> Job:
    options: list[tuple[str, str | Attached]] = []
    for name in ("choices", "format", "system"):
        if (value := getattr(arguments, name)) is not None:
            is_file = value.startswith("@") and name != "system"
            options.append((f"--{name}", Attached(_text(value[1:])) if is_file else value))
    for option in arguments.option:
        name, separator, value = option.partition("=")
        if not separator:
            raise JobError(f"--option: `{option}` is not NAME=VALUE, such as num-ctx=4096")
        options.append((f"--{name}", value))
    task = Task(
        model=arguments.model,
        slm=arguments.slm,
        modelfile=arguments.modelfile and _text(arguments.modelfile),
        options=tuple(options),
        n_threads=arguments.cpus,
        row_timeout_s=arguments.row_timeout,
    )
    return Job(
        task,
        [absolute(place) for place in arguments.input],
        absolute(arguments.output),
        arguments.column,
        arguments.engines,
        arguments.memory and arguments.memory * 1_000_000,
        arguments.rows_per_part,
        arguments.bytes_per_part,
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is below 1")
    return number


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise JobError(f"`{path}` is not UTF-8: {error}") from error


def _progress() -> Callable[[Report], None]:
    """A line every few seconds."""
    last = time.monotonic()

    def say(report: Report) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(_line(report), file=sys.stderr)

    return say


def _line(report: Report) -> str:
    kept = f", {report.n_kept} of them from an earlier run" if report.n_kept else ""
    speed = f", {report.n_rows / report.seconds:.1f} rows/s" if report.n_rows else ""
    parts = f"{report.n_kept + report.n_done} of {_counted(report.n_parts, 'part')}{kept}"
    return f"{PROGRAM}: {parts}; {_counted(report.n_rows, 'row')}, {report.n_failed} without an answer{speed}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


if __name__ == "__main__":
    sys.exit(main())
