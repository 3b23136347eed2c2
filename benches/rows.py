#!/usr/bin/env python3
"""Rows per second of `slm run --lines` beside llama.cpp's `llama-server`, on one GGUF, in one run.

Both classify the same rows under the same system text into the same labels, with as many threads: slm by scoring the labels,
the server by generating under an `enum` as `json_schema`. Rounds alternate (A B A B), each side waits while the other
works, and the figures to keep are ratios: absolute rates belong to this machine and this hour.

    benches/rows.py --model model.gguf --slm target/release/slm --server path/to/llama-server

Two ratios are printed:
  slm / server   the median over the pairs. The server gets the best of several slot counts, with its prompt cache on and one
                 request in flight for each slot.
  slm / limit    the limit is the rate at which this slm prefills long texts, in the same processes (every PROBE_EVERY rows a
                 text of PROBE_TOKENS tokens is slipped in), divided by the tokens that a row adds: its own, and those of the
                 labels' branches.

What is not counted: loading the model and the first evaluation of the system text, on both sides.

A model with random weights must not cost the server more than a trained one, which answers with quote, label, quote, end:
- it would spell a label letter by letter, so the default labels are single letters;
- it would wander through the code fences and white space that the chat endpoint's grammar allows before an answer, so the
  prompts are rendered by the server beforehand and go to `/completion` with the bare `json_schema`;
- it would go on with white space behind the answer, so white space there ends it.
What is left shows in the last line, `generated for a row`. Needs nothing beyond Python's standard library.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PROBE_EVERY = 10  # rows
PROBE_TOKENS = 400
WORDS = """account address agent amount answer arrived bank bill box broken button call cancel card change charged check code
contact courier customer damaged date day delivery device double email error expired file first form happened help invoice
item last late letter link login message missing money month need never number office order package page paid parcel password
payment person phone photo plan please price problem product reason receipt refund reply reset return screen second sent
service shop since still store subscription system team thing ticket time today twice update waiting website week wrong
year yesterday""".split()
SYSTEM = """You read messages that customers write to a support desk and decide where each of them goes. Read the whole
message first, then answer with exactly one label and nothing else. """


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="slm-rows-") as folder:
        slm = Slm(options, pathlib.Path(folder))
        with Server(options, n_slots=1) as server:
            work = Work(server, options)
        print(f"{options.model.name}, {options.threads} threads, {options.rounds} rounds of {options.rows} rows")
        best = best_slots(options, work)
        with Server(options, best) as server:
            server.classify(work.system, work.warming[:best])
            rounds = [play_round(index, slm, server, work) for index in range(options.rounds)]
    report(rounds, best)


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
    parser.add_argument("--rows", type=int, default=30, help="rows a round")
    parser.add_argument("--shared-tokens", type=int, default=300, help="length of the system text")
    parser.add_argument("--row-tokens", type=int, default=50)
    parser.add_argument("--labels", default="a,b,c,d,e,f", type=lambda text: text.split(","))
    parser.add_argument("--way", default="completion", choices=("completion", "chat"), help="how the server is asked")
    parser.add_argument("--slots", default="1,2,4,8", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--seed", type=int, default=1, help="of the texts")
    options = parser.parse_args()
    for path in (options.model, options.slm, options.server):
        if not path.exists():
            parser.error(f"there is no `{path}`")
    return options


def best_slots(options, work):
    """Tries the server with each slot count and returns the fastest."""
    rates = {}
    for n_slots in options.slots:
        with Server(options, n_slots) as server:
            server.classify(work.system, work.warming[:n_slots])
            rates[n_slots] = server.classify(work.system, work.trial).rows_per_second
        print(f"  server with {n_slots} slots: {rates[n_slots]:.3f} rows/s", flush=True)
    return max(rates, key=rates.get)


def play_round(index, slm, server, work):
    """One pair: slm while the server is stopped, then the server on the same rows."""
    with server.stopped():
        mine = slm.classify(work.system, work.rows[index], work.probes[index])
    peer = server.classify(work.system, work.rows[index])
    print(f"  round {index + 1}: slm {mine.rows_per_second:.3f} rows/s, server {peer.rows_per_second:.3f}", flush=True)
    return mine, peer


def report(rounds, n_slots):
    """Medians over the rounds; a ratio is taken within its round first."""

    def line(what, values, unit=""):
        low, high = min(values), max(values)
        print(f"{what:<34} {statistics.median(values):8.3f} {low:8.3f} {high:8.3f}  {unit}")

    print(f"\n{'':<34} {'median':>8} {'least':>8} {'most':>8}")
    line("slm", [mine.rows_per_second for mine, _ in rounds], "rows/s")
    line(f"llama-server, {n_slots} slots", [peer.rows_per_second for _, peer in rounds], "rows/s")
    line("slm / llama-server", [mine.rows_per_second / peer.rows_per_second for mine, peer in rounds])
    line("slm, prefill of long texts", [mine.prefill_per_second for mine, _ in rounds], "tokens/s")
    line("slm, evaluated for a row", [mine.tokens_per_row for mine, _ in rounds], "tokens")
    line("slm, limit", [mine.limit for mine, _ in rounds], "rows/s")
    line("slm / limit", [mine.rows_per_second / mine.limit for mine, _ in rounds])
    line("llama-server, evaluated for a row", [peer.prompt_per_row for _, peer in rounds], "tokens")
    line("llama-server, generated for a row", [peer.generated_per_row for _, peer in rounds], "tokens")


class Work:
    """The texts, cut to their lengths with the model's own tokenizer. Every row is new, so that nothing but the system text
    can be reused."""

    def __init__(self, server, options):
        source = random.Random(options.seed)

        def text(n_tokens, opening=""):
            words = opening.split()
            while server.n_tokens(" ".join(words)) < n_tokens:
                words += source.choices(WORDS, k=8)
            while server.n_tokens(" ".join(words)) > n_tokens:
                words.pop()
            return " ".join(words)

        n_probes = -(-options.rows // PROBE_EVERY)
        self.system = text(options.shared_tokens, SYSTEM)
        self.rows = [[text(options.row_tokens) for _ in range(options.rows)] for _ in range(options.rounds)]
        self.probes = [[text(PROBE_TOKENS) for _ in range(n_probes)] for _ in range(options.rounds)]
        self.warming = [text(options.row_tokens) for _ in range(max(options.slots))]
        self.trial = [text(options.row_tokens) for _ in range(max(16, 2 * max(options.slots)))]


@dataclasses.dataclass(frozen=True)
class SlmRound:
    """One process of slm over one round's rows; means over the rows."""

    rows_per_second: float
    prefill_per_second: float  # tokens, of the probes
    tokens_per_row: float  # evaluated for a row: the new ones of its prompt, and those of the labels' branches

    @property
    def limit(self):
        return self.prefill_per_second / self.tokens_per_row


class Slm:
    """`slm run MODEL --lines`, with a store of its own."""

    def __init__(self, options, folder):
        self.options = options
        self.environment = {**os.environ, "SLM_MODELS": str(folder / "store")}
        modelfile = folder / "Modelfile"
        modelfile.write_text(f"FROM {options.model.resolve()}\nPARAMETER num_thread {options.threads}\n")
        command = [options.slm, "create", "rows", "-f", modelfile]
        subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def classify(self, system, rows, probes):
        """Feeds a first row that pays for the system text, then the rows with the probes between them, and times each record
        as it arrives."""
        kinds, lines = ["first"], [" ".join(reversed(rows[0].split()))]
        probes = iter(probes)
        for index, row in enumerate(rows):
            if index % PROBE_EVERY == 0:
                kinds.append("probe")
                lines.append(next(probes))
            kinds.append("row")
            lines.append(row)
        command = [self.options.slm, "run", "rows", "--lines", "--json=full", "--system", system]
        command += ["--choices", ",".join(self.options.labels), *self.options.slm_args.split()]
        child = subprocess.Popen(command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with concurrent.futures.ThreadPoolExecutor(1) as writer:
            writer.submit(feed, child.stdin, lines)
            arrivals = [(time.monotonic(), json.loads(line)) for line in child.stdout]
        if child.wait() != 0 or len(arrivals) != len(lines):
            sys.exit(f"slm ended with {child.returncode} after {len(arrivals)} of {len(lines)} rows")
        return slm_round(kinds, arrivals)


def feed(stream, lines):
    with stream:
        stream.writelines(line + "\n" for line in lines)


def slm_round(kinds, arrivals):
    """The figures of one process. A row's time is the time since the record before it: nothing hides between records."""
    seconds, tokens = {"row": [], "probe": []}, {"row": [], "probe": []}
    for kind, (before, _), (now, record) in zip(kinds[1:], arrivals, arrivals[1:]):
        if "error" in record:
            sys.exit(f"slm refused a row: {record['error']}")
        seconds[kind].append(now - before)
        tokens[kind].append(evaluated(record))
    return SlmRound(
        rows_per_second=1 / statistics.mean(seconds["row"]),
        prefill_per_second=sum(tokens["probe"]) / sum(seconds["probe"]),
        tokens_per_row=statistics.mean(tokens["row"]),
    )


def evaluated(record):
    """The tokens that a record cost: those of its prompt that were not reused, and those of the branches."""
    return record["tokens"]["evaluated"] + record["tokens"]["branch"]


@dataclasses.dataclass(frozen=True)
class ServerRound:
    """The server over one round's rows; means over the rows."""

    rows_per_second: float
    prompt_per_row: float  # tokens that the prompt cache did not have
    generated_per_row: float  # tokens


class Server:
    """A llama-server of our own on a free port; one request in flight for each slot."""

    def __init__(self, options, n_slots):
        self.options, self.n_slots = options, n_slots
        longest = options.shared_tokens + options.row_tokens + 256
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [options.server, "--model", options.model, "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--threads", str(options.threads), "--parallel", str(n_slots)]
        command += ["--ctx-size", str(n_slots * longest), *options.server_args.split()]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        while True:
            if self.child.poll() is not None:
                sys.exit(f"`{self.options.server}` ended with {self.child.returncode} before it was ready")
            try:
                self.request("GET", "/health")
                return self
            except (OSError, RuntimeError):
                time.sleep(0.2)

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()

    @contextlib.contextmanager
    def stopped(self):
        """Takes the server off the processor, whatever its threads do when idle."""
        self.child.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.child.send_signal(signal.SIGCONT)

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        with contextlib.closing(connection):
            connection.request(method, path, body and json.dumps(body))
            response = connection.getresponse()
            text = response.read()
            if response.status != 200:
                raise RuntimeError(f"llama-server answered {response.status}: {text.decode()}")
            return json.loads(text)

    def n_tokens(self, text):
        return len(self.request("POST", "/tokenize", {"content": text})["tokens"])

    def prompt(self, system, row):
        messages = [{"role": "system", "content": system}, {"role": "user", "content": row}]
        return self.request("POST", "/apply-template", {"messages": messages})["prompt"]

    def classify(self, system, rows, n_clients=None):
        """Asks about all rows, one at a time by each of the clients; they are as many as the slots where nothing else is said."""
        if self.options.way == "chat":
            ask, asked = self.ask_chat, [(system, row) for row in rows]
        else:
            ask, asked = self.ask_completion, [(self.prompt(system, row),) for row in rows]
        with concurrent.futures.ThreadPoolExecutor(n_clients or self.n_slots) as clients:
            start = time.monotonic()
            timings = list(clients.map(lambda texts: ask(*texts), asked))
            seconds = time.monotonic() - start
        return ServerRound(
            rows_per_second=len(rows) / seconds,
            prompt_per_row=statistics.mean(timing["prompt_n"] for timing in timings),
            generated_per_row=statistics.mean(timing["predicted_n"] for timing in timings),
        )


    def ask_completion(self, prompt):
        """The cheapest way to ask: nothing but the label can be written, and white space behind it ends it."""
        body = {
            "prompt": prompt,
            "json_schema": {"type": "string", "enum": self.options.labels},
            "cache_prompt": True,
            "temperature": 0,
            "n_predict": 64,
            "stop": ['" ', '"\n'],
        }
        reply = self.request("POST", "/completion", body)
        label = reply["content"].strip('"')
        if label not in self.options.labels:
            sys.exit(f"llama-server answered `{label}`, which is not one of the labels")
        return reply["timings"]

    def ask_chat(self, system, row):
        """As clients ask. A model with random weights may use up its tokens on white space, so the answer is not read."""
        schema = {"type": "string", "enum": self.options.labels}
        body = {
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": row}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "label", "schema": schema}},
            "temperature": 0,
            "max_tokens": 64,
        }
        return self.request("POST", "/v1/chat/completions", body)["timings"]


if __name__ == "__main__":
    main()
