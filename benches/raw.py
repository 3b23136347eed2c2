#!/usr/bin/env python3
"""Raw prefill and decode of `slm bench` beside llama.cpp's `llama-bench`, on one GGUF, in interleaved pairs.

Each pair runs the one and then the other (the order changes from pair to pair), with the same file, threads, prompt, tokens,
type of keys and values, flash attention and physical batch. A ratio is taken within its pair, and the median over the pairs is
the figure to keep: absolute rates belong to this machine and this hour.

    benches/raw.py --model model.gguf --slm target/release/slm --llama-bench path/to/llama-bench

`--before "chrt -f 10"` puts a command before both, so that other work on the machine does not decide. Both do one run that is
not counted before each of theirs. Needs nothing beyond Python's standard library.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import tempfile


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="slm-raw-") as folder:
        slm = Slm(options, pathlib.Path(folder))
        pairs = [play_pair(index, slm, options) for index in range(options.pairs)]
    print(f"\n{options.model.name}, {options.threads} threads, {options.pairs} pairs")
    print(f"slm: llama-cpp-sys-2 {slm.llama_cpp}; llama-bench: {pairs[0][1].version}")
    print(f"\n{'':<26} {'median':>8} {'least':>8} {'most':>8}")
    for name, of in (
        (f"prefill of {options.prompt}", lambda run: run.prefill),
        (f"decode of {options.tokens}", lambda run: run.decode),
    ):
        line(f"{name}, slm", [of(mine) for mine, _ in pairs], "tokens/s")
        line(f"{name}, llama-bench", [of(peer) for _, peer in pairs], "tokens/s")
        line(f"{name}, ratio", [of(mine) / of(peer) for mine, peer in pairs])


def parse_arguments():
    about, details = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(
        description=about, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, type=pathlib.Path, help="a GGUF")
    parser.add_argument("--slm", default="target/release/slm", type=pathlib.Path)
    parser.add_argument("--llama-bench", required=True, type=pathlib.Path)
    parser.add_argument("--before", default="", help="a command to run both under, `chrt -f 10` for example")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--tokens", type=int, default=128, help="tokens to decode")
    parser.add_argument("--repetitions", type=int, default=2, help="of each measurement in a pair; their mean counts")
    options = parser.parse_args()
    for path in (options.model, options.slm, options.llama_bench):
        if not path.exists():
            parser.error(f"there is no `{path}`")
    return options


def line(what, values, unit=""):
    median, low, high = statistics.median(values), min(values), max(values)
    print(f"{what:<26} {median:8.3f} {low:8.3f} {high:8.3f}  {unit}")


def play_pair(index, slm, options):
    """One after the other; which is first changes, for the machine may slow down or speed up meanwhile."""
    if index % 2 == 0:
        mine, peer = slm.run(), llama_bench(options)
    else:
        peer, mine = llama_bench(options), slm.run()
    print(
        f"  pair {index + 1}: prefill {mine.prefill:.2f} and {peer.prefill:.2f}, decode {mine.decode:.2f} and "
        f"{peer.decode:.2f} tokens/s",
        flush=True,
    )
    return mine, peer


@dataclasses.dataclass(frozen=True)
class Speeds:
    """Means of one process's runs, in tokens per second."""

    prefill: float
    decode: float
    version: str = ""


class Slm:
    """`slm bench`, with a store of its own."""

    def __init__(self, options, folder):
        self.options, self.llama_cpp = options, ""
        self.environment = {**os.environ, "SLM_MODELS": str(folder / "store")}
        modelfile = folder / "Modelfile"
        modelfile.write_text(f"FROM {options.model.resolve()}\n")
        create = [options.slm.resolve(), "create", "bench", "-f", modelfile]
        subprocess.run(create, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def run(self):
        options = self.options
        command = [*shlex.split(options.before), options.slm.resolve(), "bench", "bench", "--json", "--no-ceiling"]
        command += ["--rows=0", f"--repetitions={options.repetitions}", f"--prefill={options.prompt}"]
        command += [f"--decode={options.tokens}", "--sequences=1", f"--num-thread={options.threads}", "--flash-attn=on"]
        report = json.loads(output(command, self.environment))
        self.llama_cpp = report["setting"]["llama_cpp"]
        prefill, decode = (report[kind][0]["tokens_per_second"]["mean"] for kind in ("prefill", "decode"))
        return Speeds(prefill, decode)


def llama_bench(options):
    command = [*shlex.split(options.before), options.llama_bench.resolve(), "-m", options.model.resolve()]
    command += ["-t", options.threads, "-p", options.prompt, "-n", options.tokens, "-r", options.repetitions]
    command += ["-fa", "on", "-ub", 512, "-ctk", "f16", "-ctv", "f16", "-o", "jsonl"]
    speeds = {}
    for text in output(command, os.environ).splitlines():
        record = json.loads(text)
        speeds["prefill" if record["n_prompt"] else "decode"] = record["avg_ts"]
        speeds["version"] = f"build {record['build_number']}, commit {record['build_commit']}"
    return Speeds(**speeds)


def output(command, environment):
    command = [str(part) for part in command]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


if __name__ == "__main__":
    main()
