#!/usr/bin/env python3
"""Rows per second of `slm serve` beside llama.cpp's `llama-server` for several numbers of clients, on one GGUF, in one run.

Both classify new rows under the same system text into the same labels, with as many threads, over HTTP: slm by `/api/chat` with
an `enum` as `format`, once canonically (every answer the same to the last bit under any load) and once for throughput, the server by
`/completion` with the `enum` as `json_schema`, its prompt cache on (`--way chat`: by `/v1/chat/completions`, as clients ask). Each
client has one request in flight. The server gets the best of several slot counts for each number of clients. Rounds alternate, each
side waits while the other works, and the figures to keep are the ratios within rounds: absolute rates belong to this machine and
this hour.

    benches/serve.py --model model.gguf --slm target/release/slm --server path/to/llama-server

Start the whole under `chrt -f 10` where other work on the machine would decide. What is not counted: loading the model and the first
evaluation of the system text, on both sides. What `rows.py` says of random weights holds here. Needs nothing beyond Python's standard
library.
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import sys
import tempfile

from rows import Server, Work
from served import Served, by_clients

LANES = ("canonical", "throughput")


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="slm-serve-") as folder:
        slm = Served(options.slm, folder)
        slm.create("rows", f"FROM {options.model.resolve()}\nPARAMETER num_thread {options.threads}\n")
        with Server(options, n_slots=1) as server:
            work = Work(server, options)
        print(f"{options.model.name}, {options.threads} threads, {options.rounds} rounds")
        with slm:
            for lane in LANES:
                classify(slm, options, work.system, work.warming, lane, n_clients=1)
            lines = [compare(slm, options, work, n_clients) for n_clients in options.clients]
    print("\n| clients | slots | " + " | ".join(f"slm {lane}, rows/s | beside llama-server" for lane in LANES) + " | llama-server, rows/s |")
    print("|---" * (3 + 2 * len(LANES)) + "|")
    print("\n".join(lines))


def parse_arguments():
    about, details = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(description=about, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=pathlib.Path, help="a GGUF with a chat template")
    parser.add_argument("--slm", default="target/release/slm", type=pathlib.Path)
    parser.add_argument("--server", required=True, type=pathlib.Path, help="llama.cpp's llama-server")
    parser.add_argument("--server-args", default="", help="more arguments for the server, in one string")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=24, help="rows a round, at least; 3 for every 2 clients where that is more")
    parser.add_argument("--clients", default="1,4,16,64", type=numbers)
    parser.add_argument("--slots", default="1,2,4,8,16", type=numbers, help="slot counts of the server that are tried")
    parser.add_argument("--way", default="completion", choices=("completion", "chat"), help="how the server is asked")
    parser.add_argument("--shared-tokens", type=int, default=300, help="length of the system text")
    parser.add_argument("--row-tokens", type=int, default=50)
    parser.add_argument("--labels", default="a,b,c,d,e,f", type=lambda text: text.split(","))
    parser.add_argument("--seed", type=int, default=1, help="of the texts")
    options = parser.parse_args()
    options.rows = max(options.rows, max(options.clients) * 3 // 2)
    for path in (options.model, options.slm, options.server):
        if not path.exists():
            parser.error(f"there is no `{path}`")
    return options


def numbers(text):
    return [int(number) for number in text.split(",")]


def compare(slm, options, work, n_clients):
    """All rounds with this many clients, as a line of the table."""
    n_rows = min(options.rows, max(24, n_clients * 3 // 2))
    with slm.stopped():
        n_slots = best_slots(options, work, n_clients)
    with Server(options, n_slots) as server:
        server.classify(work.system, work.warming[:n_slots])
        rounds = [play_round(slm, server, options, work, shuffled(rows[:n_rows], n_clients), n_clients) for rows in work.rows]
    cells = []
    for lane in LANES:
        cells += [spread([one[lane] for one in rounds]), spread([one[lane] / one["server"] for one in rounds])]
    return f"| {n_clients} | {n_slots} | " + " | ".join(cells) + f" | {spread([one['server'] for one in rounds])} |"


def best_slots(options, work, n_clients):
    """Tries the server with each slot count that so many clients can fill, and returns the fastest."""
    rates = {}
    for n_slots in [n for n in options.slots if n <= n_clients] or [1]:
        with Server(options, n_slots) as server:
            server.classify(work.system, work.warming[:n_slots])
            rates[n_slots] = server.classify(work.system, work.trial[: max(12, 2 * n_slots)], n_clients).rows_per_second
        print(f"  {n_clients} clients, server with {n_slots} slots: {rates[n_slots]:.3f} rows/s", flush=True)
    return max(rates, key=rates.get)


def play_round(slm, server, options, work, rows, n_clients):
    """Rates of one round: each side on the same rows while the other is stopped."""
    with server.stopped():
        rates = {
            "canonical": classify(slm, options, work.system, rows, "canonical", n_clients),
            "throughput": classify(slm, options, work.system, shuffled(rows, "throughput"), "throughput", n_clients),
        }
    with slm.stopped():
        rates["server"] = server.classify(work.system, rows, n_clients).rows_per_second
    print(f"  {n_clients} clients: " + ", ".join(f"{name} {rate:.3f}" for name, rate in rates.items()), flush=True)
    return rates


def shuffled(rows, seed):
    """The same words in another order: of what was asked before, nothing is known but the system text."""
    source = random.Random(str(seed))
    return [" ".join(source.sample(words, len(words))) for words in (row.split() for row in rows)]


def classify(slm, options, system, rows, lane, n_clients):
    """Rows per second, by so many clients with a connection each."""
    answers = []

    def ask(connection, row):
        messages = [{"role": "system", "content": system}, {"role": "user", "content": row}]
        body = {"model": "rows", "messages": messages, "stream": False, "format": {"type": "string", "enum": options.labels}}
        reply = slm.post("/api/chat", body, {"x-slm-lane": lane}, connection)
        answers.append(json.loads(reply["message"]["content"]))

    seconds = by_clients(n_clients, slm.connection, rows, ask)
    if len(answers) != len(rows) or not set(answers) <= set(options.labels):
        sys.exit(f"slm gave {len(answers)} answers to {len(rows)} rows: {sorted(set(answers))}")
    return len(rows) / seconds


def spread(values):
    """The median with the least and the most."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
