#!/usr/bin/env python3
"""Minutes of mixed load on `slm serve`: clients that vanish, model processes that are killed, models that come and go.

Every request must end in an answer or in a clear error: a status with its dialect's error, or a stream whose last line says what
happened. What ends otherwise (a connection that breaks, a body that stops in its middle, a silence) is lost, and none may be. When the
load is over, the memory of all of the server's processes stands beside what it was after the warm-up, in the same state both times:
nothing in flight, the same models loaded.

    benches/soak.py --slm target/release/slm --minutes 30

It ends with status 1 where a request was lost or the memory grew by more than `--growth`. Needs nothing beyond Python's standard library.
"""

import argparse
import collections
import contextlib
import http.client
import json
import os
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time

from rows import WORDS
from served import Served

BERT = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/embeddings/bert.gguf"
SILENCE_S = 120  # without a byte for so long, a request is lost
QUESTIONS = {
    "queue": {"type": "choice", "instructions": "Which team?", "criteria": {"billing": "payments", "shipping": None, "other": None}},
    "money": {"type": "noul", "instructions": "Is money asked back?"},
}
# Open text, so that the model of labels generates.
NOTE = {"type": "object", "properties": {"note": {"type": "string"}}, "required": ["note"]}


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="slm-soak-") as folder:
        slm = Served(options.slm, folder, {"SLM_MAX_QUEUE": str(options.max_queue)})
        slm.create("bert", f"FROM {BERT}\n")
        slm.create("spare", "FROM triage\n")
        with slm:
            Load(slm, options, minutes=options.warming).run()
            before = settled(slm)
            load = Load(slm, options, minutes=options.minutes)
            load.run()
            after = settled(slm)
    lost = report(load, before, after)
    sys.exit(1 if lost or after > before * options.growth else 0)


def parse_arguments():
    about, details = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(description=about, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slm", default="target/release/slm", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--warming", type=float, default=1, help="minutes before the memory is measured first")
    parser.add_argument("--kill-every", type=float, default=20, help="seconds between two kills of a model's process, on average")
    parser.add_argument("--max-queue", type=int, default=16, help="requests that may wait; the load brings more now and then")
    parser.add_argument("--growth", type=float, default=1.1)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


class Lost(Exception):
    """A request that ended in neither an answer nor an error."""


class Refused(Exception):
    """A clear error; its text is the kind that it is counted under."""


class Load:
    """Workers that ask until the time is over, and what became of all that they asked."""

    def __init__(self, slm, options, minutes):
        self.slm, self.options = slm, options
        self.until = time.monotonic() + minutes * 60
        self.outcomes = collections.Counter()
        self.kinds = collections.defaultdict(collections.Counter)
        self.losses = []
        self.lock = threading.Lock()

    def run(self):
        work = [self.questions] * 6 + [self.streams] * 4 + [self.openai] * 3 + [self.vectors] * 2 + [self.vanishing] * 4
        work += [self.comings_and_goings, self.burst, self.killings]
        threads = [threading.Thread(target=self.repeat, args=(one, n)) for n, one in enumerate(work)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def repeat(self, one, number):
        source = random.Random(f"{self.options.seed} {number}")
        while time.monotonic() < self.until:
            one(source)

    def count(self, kind, outcome, detail=""):
        with self.lock:
            self.outcomes[outcome] += 1
            self.kinds[kind][outcome] += 1
            if outcome == "lost":
                self.losses.append(f"{kind}: {detail}")

    def ask(self, kind, path, body, method="POST"):
        """Sends one request and counts what became of it; gives the answer's last JSON where it was answered."""
        try:
            with contextlib.closing(self.slm.connection(timeout=SILENCE_S)) as connection:
                connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
                answer = whole(connection.getresponse())
        except Refused as error:
            self.count(kind, f"refused {error}")
        except (Lost, OSError, http.client.HTTPException) as error:
            self.count(kind, "lost", f"{type(error).__name__}: {error}")
        else:
            self.count(kind, "answered")
            return answer
        return None

    # --- the workers --------------------------------------------------------------------------------------------------

    def questions(self, source):
        state = " ".join(source.choices(WORDS, k=source.randrange(5, 60)))
        answer = self.ask("questions", "/v1/systemone", {"model": "triage", "state": state, "questions": QUESTIONS})
        if answer and set(answer["answers"]) != set(QUESTIONS):
            self.count("questions", "lost", f"answers to other questions: {answer}")

    def streams(self, source):
        text = " ".join(source.choices(WORDS, k=20))
        options = {"num_predict": source.randrange(5, 80), "temperature": 1.0}
        messages = [{"role": "user", "content": text}]
        self.ask("streams", "/api/chat", {"model": "triage", "messages": messages, "format": NOTE, "options": options})

    def openai(self, source):
        messages = [{"role": "user", "content": " ".join(source.choices(WORDS, k=20))}]
        model = source.choice(["triage", "spare", "nowhere"])
        form = {"type": "json_schema", "json_schema": {"name": "note", "schema": NOTE}}
        body = {"model": model, "messages": messages, "max_tokens": 20, "stream": source.random() < 0.5}
        self.ask("openai", "/v1/chat/completions", {**body, **({"response_format": form} if source.random() < 0.5 else {})})

    def vectors(self, source):
        self.ask("vectors", "/api/embed", {"model": "bert", "input": [" ".join(source.choices(WORDS, k=8)) for _ in range(3)]})
        time.sleep(source.random() / 5)

    def vanishing(self, source):
        """A client that leaves in the middle: before the answer, or after some of it."""
        connection = self.slm.connection(timeout=SILENCE_S)
        messages = [{"role": "user", "content": " ".join(source.choices(WORDS, k=20))}]
        body = {"model": "triage", "messages": messages, "format": NOTE, "options": {"num_predict": 100_000, "temperature": 1.0}}
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("POST", "/api/chat", json.dumps(body), {"Content-Type": "application/json"})
            connection.sock.settimeout(source.random() * 2)
            connection.getresponse().read(source.randrange(1, 2000))
        self.count("vanishing", "vanished")

    def comings_and_goings(self, source):
        name = f"guest-{source.randrange(3)}"
        self.ask("models", "/api/copy", {"source": "spare", "destination": name})
        self.ask("models", "/v1/systemone", {"model": name, "state": "charged twice", "questions": QUESTIONS})
        if source.random() < 0.5:
            self.ask("models", "/api/generate", {"model": source.choice([name, "spare", "bert", "triage"]), "keep_alive": 0})
        self.ask("models", "/api/delete", {"model": name}, method="DELETE")
        self.ask("models", "/api/ps", None, method="GET")
        time.sleep(source.random())

    def burst(self, source):
        """More at once than may wait."""
        body = {"model": "triage", "state": "charged twice", "questions": QUESTIONS}
        threads = [threading.Thread(target=self.ask, args=("bursts", "/v1/systemone", body)) for _ in range(self.options.max_queue * 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(source.uniform(2, 8))

    def killings(self, source):
        time.sleep(min(source.expovariate(1 / self.options.kill_every), max(0, self.until - time.monotonic())))
        children = self.slm.processes()[1:]
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(source.choice(children), signal.SIGKILL)
                self.count("killings", "processes killed")


def whole(response):
    """The last JSON of an answer that is whole. Raises [`Refused`] for a clear error and [`Lost`] for what is neither."""
    text = response.read().decode()
    if response.status != 200:
        said = parsed(text)
        if not isinstance(said, dict) or not said.get("error"):
            raise Lost(f"status {response.status} without an error: {text[:200]!r}")
        raise Refused(response.status)
    kind = response.headers.get("content-type", "").split(";")[0]
    if kind == "application/x-ndjson":
        last = parsed(text.rstrip("\n").rsplit("\n", 1)[-1])
        if "error" in last:
            raise Refused("in a stream")
        if last.get("done") is not True and last.get("status") != "success":
            raise Lost(f"a stream without its last line: {text[-200:]!r}")
        return last
    if kind == "text/event-stream":
        events = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
        if any('"error"' in event and "error" in parsed(event) for event in events if event != "[DONE]"):
            raise Refused("in a stream")
        if not events or events[-1] != "[DONE]":
            raise Lost(f"a stream without its last line: {text[-200:]!r}")
        return None
    return parsed(text) if text else None


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        raise Lost(f"no JSON: {text[-200:]!r}") from None


def settled(slm):
    """The memory of all processes with nothing in flight and one and the same set of models loaded, just so."""
    for name in ("triage", "spare", "bert"):
        slm.post("/api/generate", {"model": name, "keep_alive": 0, "stream": False})
    time.sleep(1)
    slm.post("/v1/systemone", {"model": "triage", "state": "charged twice", "questions": QUESTIONS})
    slm.post("/api/chat", {"model": "triage", "messages": [{"role": "user", "content": "hello"}], "format": NOTE, "stream": False,
                           "options": {"num_predict": 20}})
    slm.post("/api/embed", {"model": "bert", "input": "hello"})
    time.sleep(1)
    return slm.resident_bytes()


def report(load, before, after):
    """Prints the figures; gives how many were lost."""
    outcomes = load.outcomes
    vanished, killed = outcomes.pop("vanished", 0), outcomes.pop("processes killed", 0)
    refused = {name.removeprefix("refused "): n for name, n in sorted(outcomes.items()) if name.startswith("refused")}
    print(f"{load.options.minutes:g} minutes, {killed} processes killed")
    print(f"sent {sum(outcomes.values()) + vanished}, answered {outcomes['answered']}, refused {sum(refused.values())}, "
          f"clients that vanished {vanished}, lost {outcomes['lost']}")
    print("refused: " + ", ".join(f"{n} with {kind}" for kind, n in refused.items()))
    for kind, counts in sorted(load.kinds.items()):
        print(f"  {kind:<10} " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())))
    print(f"memory: {before / 1e6:.1f} MB after the warm-up, {after / 1e6:.1f} MB after the end, {after / before:.3f} times as much")
    for loss in load.losses[:20]:
        print(f"lost: {loss}")
    return outcomes["lost"]


if __name__ == "__main__":
    main()
