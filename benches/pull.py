#!/usr/bin/env python3
"""`slm pull` of one large blob beside `curl | sha256sum` of the same address, over loopback, in interleaved pairs.

Each pair runs the one and then the other (the order changes from pair to pair) against one server, which sends a file of random
bytes from the page cache with `sendfile` and knows ranges. slm ends with the blob synced in a store; curl's bytes are only
hashed. A ratio is curl's time by slm's within a pair, so that more than 1 means that slm was faster; the median over the pairs is
the figure to keep. Peak memory is the largest resident set of an slm process.

    benches/pull.py --slm target/release/slm

Needs curl and sha256sum, twice the blob's size on the disk of `--folder`, and nothing beyond Python's standard library.
"""

import argparse
import hashlib
import http.server
import json
import multiprocessing
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import tempfile
import time

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
MODEL = "application/vnd.ollama.image.model"
# slm takes models alone: this one, made as large as is wanted by bytes that belong to no tensor.
TRIAGE = pathlib.Path(__file__).parent.parent / "Modelfiles/triage/triage.gguf"


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="slm-pull-", dir=options.folder) as folder:
        blob = write_model(pathlib.Path(folder) / "site", options.megabytes << 20)
        with Server(pathlib.Path(folder) / "site") as server:
            pairs = [play_pair(index, server, blob, pathlib.Path(folder), options) for index in range(options.pairs)]
    print(f"\na blob of {options.megabytes} MiB over loopback, {options.pairs} pairs")
    print(f"\n{'':<26} {'median':>8} {'least':>8} {'most':>8}")
    line("slm pull", [mine.seconds for mine, _ in pairs], "s")
    line("curl | sha256sum", [peer for _, peer in pairs], "s")
    line("ratio", [peer / mine.seconds for mine, peer in pairs])
    line("peak memory of slm", [mine.peak_bytes / 1e6 for mine, _ in pairs], "MB")


def parse_arguments():
    about, details = __doc__.split("\n", 1)
    parser = argparse.ArgumentParser(
        description=about, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slm", default="target/release/slm", type=pathlib.Path)
    parser.add_argument("--megabytes", type=int, default=2048, help="of the blob, in MiB")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--folder", type=pathlib.Path, help="where the blob and the stores go, by default the system's")
    parser.add_argument("--streams", type=int, help="given to `slm pull --streams`")
    parser.add_argument("--before", default="", help="a command to run both under, `chrt -f 10` for example")
    options = parser.parse_args()
    if not options.slm.exists():
        parser.error(f"there is no `{options.slm}`")
    for program in ("curl", "sha256sum"):
        if shutil.which(program) is None:
            parser.error(f"there is no `{program}`")
    return options


def line(what, values, unit=""):
    median, low, high = statistics.median(values), min(values), max(values)
    print(f"{what:<26} {median:8.3f} {low:8.3f} {high:8.3f}  {unit}")


def write_model(site, n_bytes):
    """Lays a model of mostly random bytes out as the registry's addresses have it; gives the digest of its weights."""
    blobs, manifests = (site / "v2/library/bench" / kind for kind in ("blobs", "manifests"))
    blobs.mkdir(parents=True)
    manifests.mkdir()
    sha = hashlib.sha256()
    with open(site / "weights", "wb") as file:
        piece, left = TRIAGE.read_bytes(), n_bytes
        while left > 0:
            sha.update(piece[:left])
            left -= file.write(piece[:left])
            piece = os.urandom(8 << 20)
        os.fsync(file.fileno())
    weights = f"sha256:{sha.hexdigest()}"
    (site / "weights").rename(blobs / weights)
    config = json.dumps({"model_format": "gguf", "rootfs": {"type": "layers", "diff_ids": [weights]}}).encode()
    named = f"sha256:{hashlib.sha256(config).hexdigest()}"
    (blobs / named).write_bytes(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": named, "size": len(config)},
        "layers": [{"mediaType": MODEL, "digest": weights, "size": n_bytes}],
    }
    (manifests / "latest").write_text(json.dumps(manifest))
    return weights


class Server:
    """A process that serves a folder, ended when left."""

    def __init__(self, folder):
        listening, told = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=serve, args=(folder, told), daemon=True)
        self.process.start()
        self.host = f"127.0.0.1:{listening.recv()}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.join()


def serve(folder, told):
    class Files(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = folder / self.path.split("?")[0].lstrip("/")
            if ".." in path.parts or not path.is_file():
                self.send_error(404)
                return
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                first, end = 0, size
                asked = self.headers.get("Range", "")
                if asked.startswith("bytes="):
                    start, last = asked.removeprefix("bytes=").split("-")
                    first, end = int(start), min(size, int(last) + 1) if last else size
                self.send_response(206 if asked else 200)
                if asked:
                    self.send_header("Content-Range", f"bytes {first}-{end - 1}/{size}")
                self.send_header("Accept-Ranges", "bytes")
                kind = MANIFEST if "/manifests/" in self.path else "application/octet-stream"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(end - first))
                self.end_headers()
                self.wfile.flush()
                while first < end:
                    sent = os.sendfile(self.connection.fileno(), file.fileno(), first, end - first)
                    if sent == 0:
                        break
                    first += sent

        def log_message(self, *_):
            pass

        def handle(self):
            try:
                super().handle()
            except ConnectionError:
                pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    told.send(server.server_address[1])
    server.serve_forever()


def play_pair(index, server, blob, folder, options):
    """One after the other; which is first changes, for the machine may slow down or speed up meanwhile."""
    if index % 2 == 0:
        mine, peer = Pull(server, blob, folder, options), curl(server, blob, options)
    else:
        peer, mine = curl(server, blob, options), Pull(server, blob, folder, options)
    print(
        f"  pair {index + 1}: slm {mine.seconds:.2f} s with {mine.peak_bytes / 1e6:.0f} MB, curl {peer:.2f} s",
        flush=True,
    )
    return mine, peer


class Pull:
    """One `slm pull` into an empty store: how long it took and the most memory it had."""

    def __init__(self, server, blob, folder, options):
        store = folder / "store"
        command = [*shlex.split(options.before), options.slm.resolve(), "pull", f"{server.host}/library/bench"]
        command += [f"--streams={options.streams}"] if options.streams else []
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment(SLM_MODELS=str(store), HOME=str(folder)), stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        self.seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        self.peak_bytes = usage.ru_maxrss * 1024
        if process.returncode != 0:
            raise SystemExit(f"`slm pull` ended with {process.returncode}")
        if not (store / "blobs" / blob.replace(":", "-")).is_file():
            raise SystemExit("`slm pull` left no blob")
        shutil.rmtree(store)


def curl(server, blob, options):
    """Seconds that `curl | sha256sum` took; the digest has to be the blob's."""
    url = f"http://{server.host}/v2/library/bench/blobs/{blob}"
    pipe = f"{options.before} curl -sf {shlex.quote(url)} | {options.before} sha256sum"
    started = time.perf_counter()
    said = subprocess.run(pipe, shell=True, check=True, env=environment(), stdout=subprocess.PIPE).stdout
    seconds = time.perf_counter() - started
    if said.split()[0].decode() != blob.removeprefix("sha256:"):
        raise SystemExit("curl had other bytes")
    return seconds


def environment(**more):
    """This process's, without what would lead loopback through a proxy."""
    return {name: value for name, value in os.environ.items() if "proxy" not in name.lower()} | more


if __name__ == "__main__":
    main()
