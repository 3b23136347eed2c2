#!/usr/bin/env python3
"""Records per second of `slm run --jsonl --format` beside llama.cpp's `llama-server`, on one GGUF, in one run.

Both extract the same record of six fields (two bounded strings, a number, one of six labels, a boolean, a date) from the same
texts under the same system text, held to the same JSON schema, with as many threads and temperature 0. Rounds alternate, each
side waits while the other works, and the figure to keep is the median of the ratios within rounds: absolute rates belong to
this machine and this hour.

    benches/extraction.py --model model.gguf --slm target/release/slm --server path/to/llama-server

The server gets the best of several slot counts, with its prompt cache on, as many requests in flight as slots, and the best
of three ways of asking:
  chat        `/v1/chat/completions` with `response_format`
  completion  `/completion` with `json_schema` and a prompt that it rendered before
  compact     the same with a grammar of its own language for the schema without white space
slm keeps as many records in flight as it likes; `--slm-args "--parallel N"` says otherwise. Start the whole under `chrt -f 10`
where other work on the machine would decide.

What is not counted: loading the model and the first record, which pays for the system text, on both sides.

A model with random weights writes until a bound stops it, so every string has a longest length; and it wanders through the
white space that the server's grammars for schemas allow, which a trained one does not: the compact grammar keeps that from
deciding. One cost of random weights stays: the server tries the likeliest token first and puts the whole vocabulary through its
grammar only where that is refused, which a trained model seldom causes and a random one nearly always. The tokens that each
side generated for a record stand beside the rates.

Records that are not finished, or that do not meet the schema, end the run. Needs nothing beyond Python's standard library.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from rows import Server

QUEUES = ["billing", "shipping", "account access", "technical", "legal", "other"]
SCHEMA = {
    "type": "object",
    "properties": {
        "customer": {"type": "string", "minLength": 8, "maxLength": 24},
        "order": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4}$"},
        "amount": {"type": "integer", "minimum": 0, "maximum": 9999},
        "queue": {"enum": QUEUES},
        "refund": {"type": "boolean"},
        "date": {"type": "string", "pattern": "^20[0-9]{2}-[01][0-9]-[0-3][0-9]$"},
    },
    "required": ["customer", "order", "amount", "queue", "refund", "date"],
    "additionalProperties": False,
}
SYSTEM = (
    "Extract the customer's name, the order's number, the amount that was paid, the queue that should answer, whether a "
    "refund is asked for, and the date of the order. Answer with one JSON object with the fields customer, order, amount, "
    "queue, refund and date, and nothing else."
)
NAMES = ["Ada Moreau", "Tomas Lind", "Priya Nair", "Omar Haddad", "Lena Vogel", "Jun Tanaka", "Rosa Ortiz", "Sam Okafor"]
COMPLAINTS = [
    "was charged twice and the bank cannot undo it",
    "arrived with a cracked screen and a missing cable",
    "still says that it waits in the warehouse",
    "cannot be opened since the password was changed",
    "was sent to the old address in the other town",
    "stops with an error after the last update",
    "should have been cancelled on the same morning",
]
N_PREDICT = 256
WAYS = ("chat", "completion", "compact")
# The schema in llama.cpp's language for grammars, without white space.
COMPACT = r"""
root ::= "{\"customer\":" name ",\"order\":" order ",\"amount\":" amount ",\"queue\":\"" queue "\"" refund ",\"date\":" date "}"
name ::= "\"" char{8,24} "\""
order ::= "\"" [A-Z]{2} "-" [0-9]{4} "\""
amount ::= "0" | [1-9] [0-9]{0,3}
queue ::= "billing" | "shipping" | "account access" | "technical" | "legal" | "other"
refund ::= ",\"refund\":" ("true" | "false")
date ::= "\"20" [0-9]{2} "-" [01] [0-9] "-" [0-3] [0-9] "\""
char ::= [^"\\\x7F\x00-\x1F] | [\\] (["\\bfnrt] | "u" [0-9a-fA-F]{4})
"""


def main():
    options = parse_arguments()
    # Whoever ends this script ends its server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with tempfile.TemporaryDirectory(prefix="slm-extraction-") as folder:
        slm = Slm(options, pathlib.Path(folder))
        print(f"{options.model.name}, {options.threads} threads, {options.rounds} rounds of {options.rows} records")
        n_slots, way = best_of_server(options)
        with ExtractionServer(options, n_slots) as server:
            server.extract(way, [text(-1)])
            rounds = [play_round(index, slm, server, way, options) for index in range(options.rounds)]
    report(rounds, n_slots, way)


def parse_arguments():
    about, details = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(
        description=about, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, type=pathlib.Path, help="a GGUF with a chat template")
    parser.add_argument("--slm", default="target/release/slm", type=pathlib.Path)
    parser.add_argument("--server", required=True, type=pathlib.Path, help="llama.cpp's llama-server")
    parser.add_argument("--server-args", default="", help="more arguments for the server, in one string")
    parser.add_argument("--slm-args", default="", help="more arguments for `slm run`, in one string")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=32, help="records a round")
    parser.add_argument("--slots", default="1,2,4,8,16", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--ways", default=",".join(WAYS), type=lambda text: text.split(","), help="ways to ask the server")
    options = parser.parse_args()
    # What the server of the other benchmark sizes its context by.
    options.shared_tokens, options.row_tokens = 256, 128
    for path in (options.model, options.slm, options.server):
        if not path.exists():
            parser.error(f"there is no `{path}`")
    return options


def text(number):
    """A text of about 60 tokens; every number gives another."""
    name, complaint = NAMES[number % len(NAMES)], COMPLAINTS[number % len(COMPLAINTS)]
    order, amount = 1000 + number * 37 % 9000, 10 + number * 13 % 900
    return (
        f"My name is {name}. The order KX-{order} of 2025-{1 + number % 12:02}-{1 + number * 5 % 28:02} {complaint}. I paid "
        f"{amount}.50 for it and would like to know what happens next, and when somebody will answer me."
    )


def best_of_server(options):
    """Tries every slot count and way of asking, and returns the fastest."""
    rates = {}
    for n_slots in options.slots:
        with ExtractionServer(options, n_slots) as server:
            for way in options.ways:
                server.extract(way, [text(-1)])
                trial = [text(10_000 + number) for number in range(max(8, 2 * n_slots))]
                side = server.extract(way, trial)
                rates[n_slots, way] = side.rows_per_second
                print(
                    f"  server with {n_slots} slots, {way}: {side.rows_per_second:.3f} records/s, "
                    f"{side.generated_per_row:.1f} tokens each",
                    flush=True,
                )
    return max(rates, key=rates.get)


def play_round(index, slm, server, way, options):
    """One pair on the same texts: slm while the server is stopped, then the server."""
    texts = [text(index * options.rows + number) for number in range(options.rows)]
    with server.stopped():
        mine = slm.extract(texts)
    peer = server.extract(way, texts)
    print(
        f"  round {index + 1}: slm {mine.rows_per_second:.3f} records/s, server {peer.rows_per_second:.3f}", flush=True
    )
    return mine, peer


def report(rounds, n_slots, way):
    """Medians over the rounds; a ratio is taken within its round first."""

    def line(what, values, unit=""):
        low, high = min(values), max(values)
        print(f"{what:<38} {statistics.median(values):8.3f} {low:8.3f} {high:8.3f}  {unit}")

    server = f"llama-server, {n_slots} slots, {way}"
    print(f"\n{'':<38} {'median':>8} {'least':>8} {'most':>8}")
    line("slm", [mine.rows_per_second for mine, _ in rounds], "records/s")
    line(server, [peer.rows_per_second for _, peer in rounds], "records/s")
    line("slm / llama-server", [mine.rows_per_second / peer.rows_per_second for mine, peer in rounds])
    for name, of in (("evaluated", lambda side: side.prompt_per_row), ("generated", lambda side: side.generated_per_row)):
        line(f"slm, {name} for a record", [of(mine) for mine, _ in rounds], "tokens")
        line(f"llama-server, {name} for a record", [of(peer) for _, peer in rounds], "tokens")


@dataclasses.dataclass(frozen=True)
class Side:
    """One side over one round's texts; means over the records."""

    rows_per_second: float
    prompt_per_row: float  # tokens of the prompt that were not reused
    generated_per_row: float  # tokens


def check(record):
    """That a record meets the schema, with nothing but this file."""
    ok = (
        isinstance(record, dict)
        and list(record) == SCHEMA["required"]
        and 8 <= len(record["customer"]) <= 24
        and re.fullmatch("[A-Z]{2}-[0-9]{4}", record["order"])
        and isinstance(record["amount"], int)
        and 0 <= record["amount"] <= 9999
        and record["queue"] in QUEUES
        and isinstance(record["refund"], bool)
        and re.fullmatch("20[0-9]{2}-[01][0-9]-[0-3][0-9]", record["date"])
    )
    if not ok:
        sys.exit(f"this record does not meet the schema: {json.dumps(record)}")


class Slm:
    """`slm run MODEL --jsonl`, with a store of its own."""

    def __init__(self, options, folder):
        self.options = options
        self.environment = {**os.environ, "SLM_MODELS": str(folder / "store")}
        modelfile, self.schema = folder / "Modelfile", folder / "schema.json"
        modelfile.write_text(f"FROM {options.model.resolve()}\nPARAMETER num_thread {options.threads}\n")
        self.schema.write_text(json.dumps(SCHEMA))
        command = [options.slm, "create", "extraction", "-f", modelfile]
        subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def extract(self, texts):
        """Feeds a first text that pays for the system text, then all others at once."""
        options = self.options
        command = [options.slm, "run", "extraction", "--jsonl", "text", "--json=full", "--system", SYSTEM]
        command += ["--format", f"@{self.schema}", "--num-predict", str(N_PREDICT), *shlex.split(options.slm_args)]
        child = subprocess.Popen(command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first, *lines = (json.dumps({"text": one}) + "\n" for one in [text(-1), *texts])
        child.stdin.write(first)
        child.stdin.flush()
        if not child.stdout.readline():
            sys.exit(f"slm ended with {child.wait()} at the first text")
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(1) as writer:
            writer.submit(feed, child.stdin, lines)
            answers = [json.loads(line) for line in child.stdout]
        seconds = time.monotonic() - start
        if child.wait() != 0 or len(answers) != len(texts):
            sys.exit(f"slm ended with {child.returncode} after {len(answers)} of {len(texts)} records")
        details = [answer["answer"] for answer in answers]
        for detail in details:
            response = detail["response"]
            check(json.loads(response) if isinstance(response, str) else response)
        tokens = [detail["tokens"] for detail in details]
        return Side(
            rows_per_second=len(texts) / seconds,
            prompt_per_row=statistics.mean(token["evaluated"] for token in tokens),
            generated_per_row=statistics.mean(token["generated"] for token in tokens),
        )


def feed(stream, lines):
    with stream:
        stream.writelines(lines)


class ExtractionServer(Server):
    """A llama-server of our own; one request in flight for each slot."""

    def extract(self, way, texts):
        ask = self.ask_chat if way == "chat" else self.ask_completion
        bodies = [self.body(way, one) for one in texts]
        with concurrent.futures.ThreadPoolExecutor(self.n_slots) as clients:
            start = time.monotonic()
            answers = list(clients.map(ask, bodies))
            seconds = time.monotonic() - start
        for content, _ in answers:
            check(json.loads(content))
        return Side(
            rows_per_second=len(texts) / seconds,
            prompt_per_row=statistics.mean(timings["prompt_n"] for _, timings in answers),
            generated_per_row=statistics.mean(timings["predicted_n"] for _, timings in answers),
        )

    def body(self, way, one):
        shared = {"cache_prompt": True, "temperature": 0}
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": one}]
        if way == "chat":
            form = {"type": "json_schema", "json_schema": {"name": "record", "strict": True, "schema": SCHEMA}}
            return {**shared, "messages": messages, "response_format": form, "max_tokens": N_PREDICT}
        prompt = self.request("POST", "/apply-template", {"messages": messages})["prompt"]
        form = {"json_schema": SCHEMA} if way == "completion" else {"grammar": COMPACT}
        return {**shared, "prompt": prompt, **form, "n_predict": N_PREDICT}

    def ask_chat(self, body):
        reply = self.request("POST", "/v1/chat/completions", body)
        return reply["choices"][0]["message"]["content"], reply["timings"]

    def ask_completion(self, body):
        reply = self.request("POST", "/completion", body)
        return reply["content"], reply["timings"]


if __name__ == "__main__":
    main()
