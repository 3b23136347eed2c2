#!/usr/bin/env python3
"""Rows per second and accuracy of `slm serve` beside llama.cpp's `llama-server` on texts with human labels, in one run.

Both get the same requests to `/v1/chat/completions`: the task and its labels in a system message that asks for JSON, a strict
`json_schema`, temperature 0. Each client has one request in flight over a connection of its own; each side waits while the other
works. Rows are those whose text has an odd SHA-256 digest, in the digest's order, other ones for each number of clients.

    benches/labelled.py --model model.gguf --data ../shared/data --server path/to/llama-server --tasks reviews,news --rows 60

`--others N` runs N processes beside both sides that compute without end. What is not counted: loading the model and the first
row. Needs nothing beyond Python's standard library.
"""

import argparse
import collections
import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from rows import Server
from served import Served, by_clients

# Of each task: its file, the field with the label, and what is asked.
TASKS = {
    "reviews": ("sst2.jsonl", "label", "You classify film reviews by their sentiment."),
    "news": ("ag_news.jsonl", "label", "You classify news by their topic."),
    "domains": ("clinc150.jsonl", "domain", "You sort what people ask an assistant by domain."),
    "bank": ("banking77.jsonl", "label", "You tell which intent a message of a bank's customer has."),
    "intents": ("clinc150.jsonl", "intent", "You tell which intent a request to an assistant has."),
    "slots": ("nlupp_banking.jsonl", "slots", "You extract what a message says. Write each value as it stands in the message, or null."),
}
N_SLOTS = 4  # of the extraction, the most frequent ones


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="slm-labelled-") as folder:
        slm = Served(options.slm, folder)
        slm.create("model", f"FROM {options.model.resolve()}\nPARAMETER num_thread {options.threads}\n")
        lines = []
        with slm, Server(options, options.slots) as server, others(options.others):
            for task in map(Task.of(options.data), options.tasks):
                for number, n_clients in enumerate(options.clients):
                    lines.append(compare(slm, server, task, options, (number, n_clients)))
    print("\n| task | clients | rows | slm, rows/s | llama-server, rows/s | ratio | slm, right | llama-server, right | same |")
    print("|---" * 9 + "|")
    print("\n".join(lines))


def parse_arguments():
    about, details = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(description=about, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=pathlib.Path, help="a GGUF with a chat template")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="the folder of labelled texts")
    parser.add_argument("--slm", default="target/release/slm", type=pathlib.Path)
    parser.add_argument("--server", required=True, type=pathlib.Path, help="llama.cpp's llama-server")
    parser.add_argument("--server-args", default="", help="more arguments for the server, in one string")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--tasks", default=",".join(TASKS), type=lambda text: text.split(","))
    parser.add_argument("--rows", type=int, default=60, help="rows of each task")
    parser.add_argument("--clients", default="1,4,16", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--slots", type=int, default=4, help="slots of the server")
    parser.add_argument("--others", type=int, default=0, help="processes that compute beside both")
    options = parser.parse_args()
    # What `rows.Server` gives each slot.
    options.shared_tokens, options.row_tokens = 1500, 300
    for path in (options.model, options.slm, options.server):
        if not path.exists():
            parser.error(f"there is no `{path}`")
    return options


@contextlib.contextmanager
def others(n):
    """Processes that compute without end."""
    children = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for child in children:
            child.kill()


class Task:
    """A task's request and rows, each a text with what a person said of it."""

    def __init__(self, data, name):
        self.name = name
        file, field, asked = TASKS[name]
        records = [json.loads(line) for line in (data / file).read_text().splitlines()]
        if name == "slots":
            counts = collections.Counter(slot for record in records for slot in record["slots"])
            fields = sorted(slot for slot, _ in counts.most_common(N_SLOTS))
            self.properties = {slot: {"type": ["string", "null"]} for slot in fields}
            shape = ", ".join(f'"{slot}": …' for slot in fields)
            of = lambda record: {slot: record["slots"].get(slot) for slot in fields}
        else:
            labels = sorted({record[field] for record in records})
            self.properties = {"label": {"enum": labels}}
            shape = '"label": …'
            asked += f" The labels are: {', '.join(labels)}."
            of = lambda record: {"label": record[field]}
        self.system = f"{asked} Answer with JSON: {{{shape}}}"
        digests = [(hashlib.sha256(record["text"].encode()).hexdigest(), record) for record in records]
        odd = sorted((pair for pair in digests if int(pair[0], 16) % 2), key=lambda pair: pair[0])
        self.rows = [(record["text"], of(record)) for _, record in odd]

    @staticmethod
    def of(data):
        return lambda name: Task(data, name)

    def request(self, text):
        schema = {"type": "object", "properties": self.properties, "required": list(self.properties), "additionalProperties": False}
        return {
            "model": "model",
            "messages": [{"role": "system", "content": self.system}, {"role": "user", "content": text}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}},
            "temperature": 0,
            "max_tokens": 128,
        }

    def score(self, answers, rows):
        """Accuracy; of an extraction F1 over its values."""
        if self.name != "slots":
            return sum(answer == expected for answer, (_, expected) in zip(answers, rows)) / len(rows)
        values = lambda one: {item for item in one.items() if item[1] is not None}
        pairs = [(values(answer), values(expected)) for answer, (_, expected) in zip(answers, rows)]
        found, right = sum(len(a) for a, _ in pairs) + sum(len(e) for _, e in pairs), sum(len(a & e) for a, e in pairs)
        return 2 * right / max(found, 1)


def compare(slm, server, task, options, turn):
    """Both sides on the same rows, which neither has seen before, as a line of the table."""
    number, n_clients = turn
    first, *rows = task.rows[number * (options.rows + 1) :][: options.rows + 1]
    with server.stopped():
        ask_all(slm.port, task, [first], 1)
        mine = ask_all(slm.port, task, rows, n_clients)
    with slm.stopped():
        ask_all(server.port, task, [first], 1)
        theirs = ask_all(server.port, task, rows, n_clients)
    same = sum(one == other for one, other in zip(mine.answers, theirs.answers))
    line = (
        f"| {task.name} | {n_clients} | {len(rows)} | {mine.rate:.2f} | {theirs.rate:.2f} | {mine.rate / theirs.rate:.2f} | "
        f"{task.score(mine.answers, rows):.3f} | {task.score(theirs.answers, rows):.3f} | {same} |"
    )
    print(f"  {line}", flush=True)
    return line


Answered = collections.namedtuple("Answered", "rate answers")


def ask_all(port, task, rows, n_clients):
    """Rows per second, and the answers in the rows' order; one that is not JSON is empty."""
    answers = [{}] * len(rows)

    def ask(connection, item):
        index, (text, _) = item
        connection.request("POST", "/v1/chat/completions", json.dumps(task.request(text)), {"Content-Type": "application/json"})
        response = connection.getresponse()
        reply = response.read()
        if response.status != 200:
            print(f"  row {index}: status {response.status}: {reply.decode()[:300]}", file=sys.stderr)
            return
        with contextlib.suppress(ValueError):
            answers[index] = json.loads(json.loads(reply)["choices"][0]["message"]["content"])

    seconds = by_clients(n_clients, lambda: http.client.HTTPConnection("127.0.0.1", port), enumerate(rows), ask)
    return Answered(len(rows) / seconds, answers)


if __name__ == "__main__":
    main()
