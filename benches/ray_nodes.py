#!/usr/bin/env python3
"""Rows per second of the Ray job on one node and on two, with a core each: both in one run, in turns, and their ratio.

    pip install "ray[data]==2.60.0"
    benches/ray_nodes.py triage Modelfiles/triage/tickets.jsonl --column text --rows 6000
    benches/ray_nodes.py smollm2 ag_news.jsonl --column text --rows 400 -- --choices World,Sports,Business,Sci/Tech

The rows are repeated until there are enough, and are cut into twenty parts. A run's speed is that of the parts behind the first one,
which starting Ray's actors and loading the model has no share in. What stands after `--` goes to the job.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "deploy/ray"
N_PARTS = 20
NODE = {"object_store_memory": 100 << 20}
START_ATTEMPTS = 4

os.environ.update(PYTHONPATH=str(PACKAGE), RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")


def main():
    arguments = parser().parse_args()
    from ray.cluster_utils import Cluster

    folder = pathlib.Path(tempfile.mkdtemp(prefix="slm-bench-ray-"))
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("two cores are needed")
    rows = repeated(arguments.data, arguments.rows)
    source = folder / "in.jsonl"
    source.write_text("".join(rows), encoding="utf-8")
    cluster = Cluster()
    try:
        start(cluster, 0)
        nodes = [pinned(start(cluster, 1), cores[0])]
        speeds = {1: [], 2: []}
        for turn in range(arguments.turns):
            for n_nodes in (1, 2):
                while len(nodes) < n_nodes:
                    nodes.append(pinned(start(cluster, 1), cores[len(nodes)]))
                while len(nodes) > n_nodes:
                    cluster.remove_node(nodes.pop())
                output = folder / f"out-{turn}-{n_nodes}"
                speeds[n_nodes].append(measured(cluster, source, output, n_nodes, arguments))
                print(f"{n_nodes} node{'s' * (n_nodes > 1)}: {speeds[n_nodes][-1]:.1f} rows/s", flush=True)
    finally:
        cluster.shutdown()
        shutil.rmtree(folder)
    one, two = (statistics.median(speeds[n_nodes]) for n_nodes in (1, 2))
    print(f"median of {arguments.turns}: 1 node {one:.1f} rows/s, 2 nodes {two:.1f} rows/s, ratio {two / one:.2f}")


def parser():
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("model")
    made.add_argument("data", type=pathlib.Path)
    made.add_argument("--column", required=True)
    made.add_argument("--rows", type=int, default=1000)
    made.add_argument("--turns", type=int, default=3)
    made.add_argument("--slm", default=str(ROOT / "target/release/slm"))
    made.add_argument("more", nargs="*")
    return made


def repeated(data, n_rows):
    """So many lines, from the file's own over and over."""
    lines = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines() if line]
    return [json.dumps({"row": number, **lines[number % len(lines)]}) + "\n" for number in range(n_rows)]


def start(cluster, n_cpus):
    """A node. Ray gives it half a minute to start, which a machine in use may exceed: it is tried again."""
    for attempt in range(START_ATTEMPTS):
        try:
            return cluster.add_node(num_cpus=n_cpus, include_dashboard=False, **NODE)
        except Exception:  # pylint: disable=broad-except
            if attempt == START_ATTEMPTS - 1:
                raise


def pinned(node, core):
    """Keeps a node's processes, and those that they will start, on a core."""
    for started in node.all_processes["raylet"]:
        subprocess.run(["taskset", "--all-tasks", "--cpu-list", "--pid", str(core), str(started.process.pid)], check=True, capture_output=True)
    return node


def measured(cluster, source, output, n_nodes, arguments):
    """Rows per second behind the first part."""
    part = -(-source.stat().st_size // N_PARTS)
    command = [sys.executable, "-m", "slm_ray", "--address", cluster.address, "--slm", arguments.slm, "--model", arguments.model]
    command += ["--input", str(source), "--output", str(output), "--column", arguments.column, "--bytes-per-part", str(part)]
    done = subprocess.run([*command, "--engines", str(n_nodes), *arguments.more], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    parts = sorted((path.stat().st_mtime_ns, path.read_bytes().count(b"\n")) for path in output.glob("part-*"))
    return sum(n_rows for _, n_rows in parts[1:]) / ((parts[-1][0] - parts[0][0]) / 1e9)


if __name__ == "__main__":
    main()
