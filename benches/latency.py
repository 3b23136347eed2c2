#!/usr/bin/env python3
"""What HTTP and a child process add to an answer: `slm serve` beside `slm run --lines`, in one run.

Both answer the same new tickets with the model inside slm, one at a time and in turns: `run` has its engine on a thread of its own
process and is asked over a pipe, `serve` has it in a child process and is asked over a kept connection. The figure to keep is the
difference at the median and at the 99th percentile; the absolute times belong to this machine and this hour.

    benches/latency.py --slm target/release/slm

Start it under `chrt -f 10` where other work on the machine would decide. Needs nothing beyond Python's standard library.
"""

import argparse
import contextlib
import json
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

from rows import WORDS
from served import Served

WARMING = 20


def main():
    about, details = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(description=about, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slm", default="target/release/slm", type=pathlib.Path)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--words", type=int, default=30, help="words of a ticket")
    parser.add_argument("--seed", type=int, default=1, help="of the tickets")
    options = parser.parse_args()
    source = random.Random(options.seed)
    tickets = [" ".join(source.choices(WORDS, k=options.words)) for _ in range(options.requests + WARMING)]
    with tempfile.TemporaryDirectory(prefix="slm-latency-") as folder, Served(options.slm, folder) as slm:
        with Lines(slm) as lines, contextlib.closing(slm.connection()) as connection:
            times = [(lines.ask(ticket), over_http(slm, connection, ticket)) for ticket in tickets][WARMING:]
    for (_, inside), (_, outside, _) in times:
        if inside != outside:
            sys.exit(f"the answers differ: {inside} and {outside}")
    report([one for (one, _), _ in times], [one for _, (one, _, _) in times], [one for _, (_, _, one) in times])


class Lines:
    """`slm run triage --lines`, asked one line at a time."""

    def __init__(self, slm):
        self.child = subprocess.Popen(
            [slm.slm, "run", "--local", "triage", "--lines", "--json=full"],
            env=slm.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait()

    def ask(self, ticket):
        """The seconds until the answer, and the answer's value."""
        line = ticket.encode() + b"\n"
        start = time.perf_counter()
        self.child.stdin.write(line)
        self.child.stdin.flush()
        said = self.child.stdout.readline()
        seconds = time.perf_counter() - start
        return seconds, json.loads(said)["value"]


def over_http(slm, connection, ticket):
    """The seconds until the answer, the answer's value, and the seconds that the server says it took."""
    body = {"model": "triage", "messages": [{"role": "user", "content": ticket}], "stream": False}
    start = time.perf_counter()
    reply = slm.post("/api/chat", body, connection=connection)
    seconds = time.perf_counter() - start
    return seconds, json.loads(reply["message"]["content"]), reply["total_duration"] / 1e9


def report(inside, outside, told):
    """Milliseconds at the percentiles, and what is between them."""
    columns = ("p50", "p90", "p99")
    print(f"{len(inside)} tickets each, in turns\n\n{'milliseconds':<44}" + "".join(f"{name:>9}" for name in columns))

    def line(what, values):
        print(f"{what:<44}" + "".join(f"{value * 1000:9.3f}" for value in values))

    inside, outside, told = (percentiles(values) for values in (inside, outside, told))
    line("engine on a thread, asked over a pipe", inside)
    line("engine in a child process, asked over HTTP", outside)
    line("  of which the server says", told)
    line("added", [there - here for here, there in zip(inside, outside)])


def percentiles(values):
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return [cuts[at - 1] for at in (50, 90, 99)]


if __name__ == "__main__":
    main()
