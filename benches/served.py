"""`slm serve` for the benchmarks: a process of its own on a free port, over a store of its own."""

import contextlib
import http.client
import json
import os
import pathlib
import queue
import signal
import socket
import subprocess
import sys
import threading
import time


def by_clients(n_clients, connect, items, ask):
    """Asks about every item, each of so many clients one at a time over a connection of its own; the seconds that it took."""
    left = queue.SimpleQueue()
    for item in items:
        left.put(item)

    def client():
        with contextlib.closing(connect()) as connection, contextlib.suppress(queue.Empty):
            while True:
                ask(connection, left.get_nowait())

    threads = [threading.Thread(target=client) for _ in range(n_clients)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - start


class Served:
    """A running server; its children are in its process group. Use it in a `with`."""

    def __init__(self, slm, folder, environment=None):
        self.slm, self.folder = pathlib.Path(slm).resolve(), pathlib.Path(folder)
        self.log = self.folder / "serve.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # A proxy is not for this machine, and no model comes from elsewhere.
        self.environment = {**os.environ, "SLM_MODELS": str(self.folder / "store"), "SLM_REGISTRY": "127.0.0.1:1", **(environment or {})}
        self.child = None

    def create(self, name, modelfile):
        """Makes a model before or while the server runs."""
        path = self.folder / "Modelfile"
        path.write_text(modelfile)
        command = [self.slm, "create", name, "-f", path]
        subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def __enter__(self):
        command = [self.slm, "serve", "--host", f"127.0.0.1:{self.port}"]
        with self.log.open("w") as log:
            self.child = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        while True:
            if self.child.poll() is not None:
                sys.exit(f"`slm serve` ended with {self.child.returncode}: {self.log.read_text()}")
            try:
                status, _ = self.get("/ready")
                if status != 503:
                    return self
            except OSError:
                pass
            time.sleep(0.05)

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()

    @contextlib.contextmanager
    def stopped(self):
        """Takes it and its children off the processor."""
        os.killpg(self.child.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.child.pid, signal.SIGCONT)

    def connection(self, timeout=None):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def get(self, path):
        """The status and the text."""
        with contextlib.closing(self.connection(timeout=10)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    def post(self, path, body, headers=None, connection=None):
        """The JSON of an answer, over a connection of the caller's where there is one; anything but 200 ends the benchmark."""
        mine = connection or self.connection()
        mine.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **(headers or {})})
        response = mine.getresponse()
        text = response.read()
        if not connection:
            mine.close()
        if response.status != 200:
            sys.exit(f"slm answered {response.status}: {text.decode()}")
        return json.loads(text)

    def processes(self):
        """The server and its children, by their numbers."""
        children = pathlib.Path(f"/proc/{self.child.pid}/task").glob("*/children")
        return [self.child.pid, *(int(pid) for path in children for pid in path.read_text().split())]

    def resident_bytes(self):
        """The memory of all its processes, what they share counted once for each that has it mapped, in parts."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024
        return total
