#!/usr/bin/env python3
"""The job of `deploy/ray` on a Ray cluster of several nodes on this machine: what it writes, and what is left when something dies.

SLM is the binary, SLM_RAY_PACKAGE the folder of the package, and the working directory is written to.
"""

import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

SLM = os.environ["SLM"]
PACKAGE = os.environ["SLM_RAY_PACKAGE"]
sys.path.insert(0, PACKAGE)
os.environ["PYTHONPATH"] = PACKAGE
# Ray's own variables: no reports home, and no warning about accelerators that a node without them hides.
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from slm_ray import Answers, Engine, EngineError, Task, describe  # noqa: E402
from slm_ray.engine import Attached  # noqa: E402

from checks import check, equal, raises, run  # noqa: E402

TICKETS = [
    "I was charged twice for order 1182",
    "My parcel never arrived",
    "The app crashes whenever I open it\non my phone",
    "I cannot log in",
    "My lawyer will write to you",
    'The app says "session expired"',
    "Où est mon colis ? \U0001f4e6",
]
N_ROWS = 2400
ROWS_PER_PART = 100
# Little memory for objects: parts are small, and several nodes are on one machine.
NODE = {"object_store_memory": 100 << 20}
cluster = None
nodes = []


def started(**arguments):
    """A node. Ray gives it half a minute to start, which a machine in use may exceed: it is tried again."""
    for attempts_left in (2, 1, 0):
        try:
            return cluster.add_node(**arguments, **NODE)
        except Exception:
            if not attempts_left:
                raise


def add_nodes(n_nodes):
    """Adds nodes with a processor each."""
    nodes.extend(started(num_cpus=1) for _ in range(n_nodes))


def start():
    """The cluster, with a head that does no work and one node."""
    global cluster
    cluster = Cluster()
    started(num_cpus=0, include_dashboard=False)
    add_nodes(1)


def text(number):
    """Every hundredth row has none."""
    return None if number % 100 == 99 else f"{TICKETS[number % len(TICKETS)]} ({number})"


def parquet(folder):
    """A folder of two files in several row groups, with the ids from 0."""
    path = pathlib.Path(folder)
    path.mkdir(exist_ok=True)
    table = pa.table({"id": range(N_ROWS), "body": [text(number) for number in range(N_ROWS)]})
    pq.write_table(table.slice(0, 1650), path / "a.parquet", row_group_size=400)
    pq.write_table(table.slice(1650), path / "b.parquet")
    return path


def job(output, *arguments, model="triage", **more):
    """A job as a process of its own."""
    command = [sys.executable, "-m", "slm_ray", "--address", cluster.address, "--slm", SLM, "--model", model]
    command += ["--output", str(output), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def done(process, code=0):
    """What a job that ended so said."""
    said = process.communicate()[1]
    assert process.returncode == code, f"exit code {process.returncode}: {said}"
    return [line for line in said.splitlines() if line.startswith("slm-ray: ")]


def files(output):
    return sorted(pathlib.Path(output).glob("part-*"))


def wait_for_parts(output, n_parts):
    deadline = time.monotonic() + 120
    while len(files(output)) < n_parts:
        assert time.monotonic() < deadline, "no parts"
        time.sleep(0.02)


def holds_every_row_once(output):
    """All rows are there, each once, with what slm says of it alone, to the last bit."""
    rows = [row for path in files(output) for row in pq.read_table(path).to_pylist()]
    times = collections.Counter(row["id"] for row in rows)
    lost, twice = set(range(N_ROWS)) - set(times), [number for number, n in times.items() if n > 1]
    equal((lost, twice), (set(), []))
    lines = "".join(json.dumps({"id": row["id"], "body": row["body"]}) + "\n" for row in rows)
    command = [SLM, "run", "triage", "--local", "--num-thread", "1", "--jsonl", "body", "--json"]
    alone = subprocess.run(command, input=lines, capture_output=True, text=True, check=False).stdout
    for row, line in zip(rows, alone.splitlines(), strict=True):
        own = {name: value for name, value in row.items() if value is not None or name == "body"}
        equal({**own, "error": "…"} if "error" in own else own, {**json.loads(line), "error": "…"} if "error" in own else json.loads(line))
    equal(sum(row["error"] is not None for row in rows), N_ROWS // 100)


@check("engine", "answers in order, rows that fail in their places")
def _():
    engine = Engine(Task("triage", slm=SLM))
    answers = list(engine.answers([TICKETS[0], None, "", 7, TICKETS[1]]))
    equal([answer.get("queue") for answer in answers], ["billing", None, None, None, "shipping"])
    equal(answers[1], {"error": "`text` is null, not a string"})
    equal(set(answers[0]), {"queue", "queue_probability", "urgency", "urgency_probability", "refund", "refund_probability"})


@check("engine", "a process that is killed is started again, and no row is missed")
def _():
    engine, answers = Engine(Task("triage", slm=SLM)), []
    texts = [text(number) for number in range(300)]
    undisturbed = list(engine.answers(texts))
    for number, answer in enumerate(engine.answers(texts)):
        answers.append(answer)
        if number in (20, 250):
            os.kill(engine._process.child.pid, signal.SIGKILL)
    equal(answers, undisturbed)


@check("engine", "a row that ends the process every time is an error in its place")
def _():
    folder = pathlib.Path("dies").absolute()
    folder.mkdir()
    # As slm, but that it dies of one text.
    script = folder / "slm"
    script.write_text(f'#!/bin/sh\n[ "$1" = run ] || exec "{SLM}" "$@"\n"{SLM}" "$@" | sed -u /poison/Q\n')
    script.chmod(0o755)
    engine = Engine(Task("triage", slm=str(script), row_timeout_s=20))
    answers = list(engine.answers([TICKETS[0], "poison", TICKETS[1]]))
    equal([answer.get("queue") for answer in answers], ["billing", None, "shipping"])
    assert answers[1]["error"].startswith("slm ended 2 times while it answered this row: "), answers[1]


@check("engine", "what cannot start says why")
def _():
    with raises(EngineError, "unexpected argument '--bogus'", "does not start"):
        Engine(Task("triage", slm=SLM, options=(("--bogus", "1"),)))
    with raises(EngineError, "cannot be run on this node", "--slm"):
        Engine(Task("triage", slm="/nowhere/slm"))
    with raises(EngineError, "cannot pull `nowhere:latest`"):
        Engine(Task("nowhere", slm=SLM))


@check("columns", "have the types of the format")
def _():
    formats = {
        '{"enum": ["a", "b"]}': [("label", "string"), ("probability", "float"), ("label_mass", "float")],
        '{"enum": [1, 2]}': [("label", "int"), ("probability", "float"), ("label_mass", "float")],
        '{"enum": [1, "2"]}': [("label", "string"), ("probability", "float"), ("label_mass", "float")],
        '{"type": "object", "properties": {"at": {"type": "object", "properties": {"ok": {"type": "boolean"}}}}}': [
            ("at.ok", "bool"),
            ("at.ok_probability", "float"),
        ],
        '{"type": "object", "properties": {"n": {"type": "number"}, "tags": {"type": "array", "maxItems": 1}}}': [
            ("n", "float"),
            ("tags", "string"),
        ],
    }
    for schema, types in formats.items():
        described = describe(Task("triage", slm=SLM, options=(("--format", schema),)), TICKETS, [])
        equal(list(described.columns.types), types)
        answers = [{name: None for name, _ in types}, {"error": "no"}]
        table = described.columns.table(pa.table({"id": [1, 2]}), answers)
        equal((table.num_rows, table["error"].to_pylist()), (2, [None, "no"]))
    labels = Attached("billing\tcharges\nother\n")
    described = describe(Task("triage", slm=SLM, options=(("--choices", labels),)), TICKETS, ["label"])
    equal((described.columns.prefix, described.columns.types[0]), ("slm_", ("label", "string")))


@check("job", "JSONL comes back as it was written, with an answer or an error")
def _():
    lines = [
        '{"id": 1,  "ticket": {"body": "I was charged twice"}}',
        "{not json",
        '["a list"]',
        '{"id": 2}',
        '{"id": 3, "ticket": {"body": ""}}',
        '{"id": 4, "ticket": {"body": "caf\\u00e9"}, "queue": "mine"}',
        "",
        '{"id": 5, "ticket": {"body": "My parcel never arrived"}}',
    ]
    # The last field is found in a later record than the first: no prefix can help it any more.
    first = [line for line in lines if "queue" not in line] * 3
    pathlib.Path("in.jsonl").write_text("\n".join([*first, *lines]), encoding="utf-8")
    said = done(job("lines", "--input", "in.jsonl", "--column", "/ticket/body", "--bytes-per-part", 200))
    written = "".join(path.read_text(encoding="utf-8") for path in files("lines")).splitlines()
    expected = [line for line in [*first, *lines] if line]
    equal(len(written), len(expected))
    for line, source in zip(written, expected, strict=True):
        row = json.loads(line)
        if source.startswith('{"'):
            assert line.startswith(source[:-1]), (line, source)
        else:
            equal(row["line"], source)
        is_answered = '"body": "I' in source or '"body": "My' in source
        equal("error" not in row, is_answered)
    assert len(files("lines")) > 3, files("lines")
    assert f"{len(expected)} rows" in said[-1], said
    # Nothing is left to do.
    again = done(job("lines", "--input", "in.jsonl", "--column", "/ticket/body", "--bytes-per-part", 200))
    assert " 0 rows" in again[-1], again
    # An output is of one job.
    other = ("--input", "in.jsonl", "--column", "/ticket/body", "--bytes-per-part", 300)
    assert "another `bytes_per_part`" in done(job("lines", *other), 2)[0]


@check("job", "what cannot be done is said before anything is asked")
def _():
    parquet("in")
    for arguments, why in [
        (("--input", "in", "--column", "id"), "is int64, not text"),
        (("--input", "in", "--column", "text"), "there is no column `text`; there are `id`, `body`"),
        (("--input", "nowhere", "--column", "body"), "nowhere` does not exist"),
        (("--input", "in", "in.jsonl", "--column", "body"), "both Parquet and JSONL"),
        (("--input", "in", "--column", "body", "--option", "bogus=1"), "unexpected argument '--bogus'"),
    ]:
        said = done(job("never", *arguments), 2)
        assert len(said) == 1 and why in said[0], said
    assert not pathlib.Path("never").exists()


@check("job", "killed in the middle, it goes on where it was")
def _():
    arguments = ("--input", parquet("in"), "--column", "body", "--rows-per-part", ROWS_PER_PART)
    first = job("killed", *arguments)
    wait_for_parts("killed", 3)
    first.kill()
    first.communicate()
    kept = {path: path.stat().st_mtime_ns for path in files("killed")}
    said = done(job("killed", *arguments))
    # Ray may have let an actor finish a part behind the kill.
    assert f" of {len(files('killed'))} parts, " in said[-1] and "from an earlier run" in said[-1], said
    equal({path: path.stat().st_mtime_ns for path in kept}, kept)
    holds_every_row_once("killed")


@check("job", "a node killed in the middle: no row is lost, none is there twice")
def _():
    add_nodes(2)
    running = job("node", "--input", parquet("in"), "--column", "body", "--rows-per-part", ROWS_PER_PART)
    wait_for_parts("node", 4)
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    done(running)
    holds_every_row_once("node")
    left = {path.name for path in pathlib.Path("node").iterdir()} - {path.name for path in files("node")}
    equal(left, {"_job.json", "_SUCCESS"})


@check("job", "that cannot go on says why, and what is written stays")
def _():
    folder = pathlib.Path("tired").absolute()
    folder.mkdir()
    # As slm, but that it starts for the first rows and never again.
    script = folder / "slm"
    script.write_text(f'#!/bin/sh\n[ "$1" = run ] && [ -e "{folder}/once" ] && echo "no more" >&2 && exit 1\n'
                      f'[ "$1" = run ] && : > "{folder}/once"\nexec "{SLM}" "$@"\n')
    script.chmod(0o755)
    said = done(job("tired/out", "--input", parquet("in"), "--column", "body", "--slm", script), 1)
    assert len(said) == 1 and "does not start: exit code 1; no more; 0 parts were written" in said[0], said


@check("stage", "answers in a pipeline of Ray's own readers and writers")
def _():
    add_nodes(2 - len(nodes))
    ray.init(address=cluster.address, runtime_env={"py_modules": [f"{PACKAGE}/slm_ray"]}, logging_level="error")
    task = Task("desk", slm=SLM, modelfile='FROM triage\nFORMAT {"enum": ["billing", "shipping"]}\n')
    described = ray.get(ray.remote(describe).remote(task, TICKETS, ["id", "body"]))
    rows = ray.data.read_parquet(str(parquet("in"))).limit(200)
    answered = rows.map_batches(
        Answers,
        batch_format="pyarrow",
        batch_size=64,
        num_cpus=1,
        # The other node reads.
        compute=ray.data.ActorPoolStrategy(size=1),
        fn_constructor_kwargs={"task": task, "column": "body", "described": described},
    )
    found = answered.take_all()
    equal(len(found), 200)
    equal({row["label"] for row in found if row["error"] is None}, {"billing", "shipping"})
    equal(sum(row["error"] is not None for row in found), 2)
    ray.shutdown()


@check("storage", "an object store is read and written")
def _():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    os.environ.update(AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_DEFAULT_REGION="us-east-1")
    from slm_ray.parts import plan, read_lines
    from slm_ray.storage import Folder, locate

    port = server.get_host_and_port()[1]
    query = f"?scheme=http&endpoint_override=127.0.0.1%3A{port}&allow_bucket_creation=true"
    store, _ = locate(f"s3://bucket{query}")
    store.create_dir("bucket")
    lines = [json.dumps({"body": text(number)}).encode() for number in range(1000)]
    with store.open_output_stream("bucket/in/a.jsonl") as stream:
        stream.write(b"\r\n".join(lines))
    planned = plan([f"s3://bucket/in{query}"], 1, 999)
    assert len(planned.parts) > 40, len(planned.parts)
    equal([line for part in planned.parts for line in read_lines(planned.files, part)], lines)
    output = Folder.at(f"s3://bucket/out{query}")
    equal((output.names(), output.read("part")), (set(), None))
    for contents in (b"first", b"again"):
        output.publish("part", contents)
        equal((output.names(), output.read("part")), ({"part"}, contents))
    server.stop()


if __name__ == "__main__":
    start()
    try:
        run("ray", "pyarrow")
    finally:
        cluster.shutdown()
