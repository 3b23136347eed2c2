#!/usr/bin/env python3
"""What a fit costs a row of `slm serve`: the same rows with the fit and without it (`X-Slm-Fit: off`), in turns, in one run.

One client has one request in flight. Of two rows that follow each other one is asked with the fit and one without, and in the next
round it is the other way round, because a row that was just asked is evaluated faster a second time. A row's time on each side is its
least of all rounds, which other work on the machine can only lengthen; the ratio is that of the sums over all rows, and the interval
is that of a bootstrap over rows.

    benches/fit_served.py --model model.gguf --rows train.jsonl --asked test.jsonl --rounds 6

Rows are JSON lines with `text` and `label`. The fit is made here, by `slm fit` with `--rows`; what is not counted is the fit itself,
loading the model and a round before the first. Needs nothing beyond Python's standard library.
"""

import argparse
import json
import pathlib
import random
import subprocess
import tempfile
import time

from served import Served


def main():
    options = parse_arguments()
    taught, asked = lines(options.rows), lines(options.asked)[: options.n]
    with tempfile.TemporaryDirectory(prefix="slm-fit-served-") as folder:
        slm = Served(options.slm, folder)
        labels = sorted({row["label"] for row in taught})
        slm.create("raw", f"FROM {options.model.resolve()}\nFORMAT {json.dumps({'enum': labels})}\n")
        command = [slm.slm, "fit", "raw", options.rows.resolve(), "--label", "label", "--as", "fitted", "--json"]
        told = json.loads(subprocess.run(command, env=slm.environment, check=True, capture_output=True).stdout)
        print(f"the fit's method: {told['fields'][0]['method']}, {len(taught)} rows taught")
        with slm:
            times = measure(slm, [row["text"] for row in asked], options.rounds)
    tell(times)


def parse_arguments():
    about, details = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(description=about, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slm", default="target/release/slm", help="the binary")
    parser.add_argument("--model", required=True, type=pathlib.Path, help="a GGUF with a chat template")
    parser.add_argument("--rows", required=True, type=pathlib.Path, help="JSON lines that teach")
    parser.add_argument("--asked", required=True, type=pathlib.Path, help="JSON lines that are asked")
    parser.add_argument("--n", type=int, default=100, help="how many are asked")
    parser.add_argument("--rounds", type=int, default=6, help="an even number: on each side half of them")
    return parser.parse_args()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def measure(slm, texts, n_rounds):
    """The times of each row on each side, in milliseconds."""
    times = [{"on": [], "off": []} for _ in texts]
    connection = slm.connection()
    for number in range(-1, n_rounds):
        for row, text in enumerate(texts):
            side = ("on", "off")[(row + number) % 2]
            body = {"model": "fitted", "messages": [{"role": "user", "content": text}]}
            start = time.perf_counter()
            slm.post("/v1/chat/completions", body, {"X-Slm-Fit": side}, connection)
            if number >= 0:
                times[row][side].append((time.perf_counter() - start) * 1e3)
    connection.close()
    return times


def tell(times):
    least = [(min(row["on"]), min(row["off"])) for row in times]
    ratio = lambda rows: sum(on for on, _ in rows) / sum(off for _, off in rows)
    draw = random.Random(16)
    drawn = sorted(ratio(draw.choices(least, k=len(least))) for _ in range(1000))
    on, off = (sum(row[side] for row in least) / len(least) for side in (0, 1))
    print(f"{len(least)} rows: {on:.2f} ms fitted, {off:.2f} ms without; ratio {ratio(least):.4f} ({drawn[25]:.4f} to {drawn[974]:.4f})")


if __name__ == "__main__":
    main()
