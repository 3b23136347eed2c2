#!/usr/bin/env python3
"""The classes with which vLLM's `run-batch` writes its results, reading ours.

SLM_VLLM is a folder with vLLM's Python files (`vllm/entrypoints/…`, of its wheel). They import torch and the engine, which nobody
needs to read a line of JSON: of each file only the classes are taken that a result is made of, and what these name. A name that
is of no file here stands for anything."""

import ast
import builtins
import importlib
import json
import os
import pathlib
import sys
import typing
from unittest.mock import MagicMock

ROOT = pathlib.Path(os.environ["SLM_VLLM"])
RUN_BATCH = ["vllm.entrypoints.launchers.run_batch", "vllm.entrypoints.openai.run_batch"]


class Source:
    """A file of vLLM's, of which single definitions are run."""

    known: dict[str, "Source | None"] = {}

    def __init__(self, module: str, path: pathlib.Path):
        self.module, self.names, self.imports, self.space = module, {}, {}, {"__name__": module}
        self.package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.parse(path.read_text()).body:
            self.remember(node)

    @classmethod
    def of(cls, module: str) -> "Source | None":
        if module not in cls.known:
            base = ROOT.joinpath(*module.split("."))
            path = next((one for one in (base.with_suffix(".py"), base / "__init__.py") if one.is_file()), None)
            cls.known[module] = cls(module, path) if path else None
        return cls.known[module]

    def remember(self, node):
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                self.names[node.name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                self.names[name] = node
            case ast.ImportFrom():
                base = node.module or ""
                if node.level:
                    above = self.package.split(".")[: len(self.package.split(".")) - node.level + 1]
                    base = ".".join([*above, *([node.module] if node.module else [])])
                for name in node.names:
                    self.imports[name.asname or name.name] = (base, name.name)
            case ast.Import():
                for name in node.names:
                    first = name.name.split(".")[0]
                    self.imports[name.asname or first] = (name.name if name.asname else first, None)
            case ast.If():
                for inner in node.body + node.orelse:
                    self.remember(inner)

    def get(self, name: str):
        """What a name stands for."""
        if name in self.space:
            return self.space[name]
        if hasattr(builtins, name):
            return getattr(builtins, name)
        node = self.names.get(name)
        if node is None:
            self.space[name] = self.imported(name)
            return self.space[name]
        self.space[name] = None  # A definition may name itself.
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and inner.id != name and not hasattr(builtins, inner.id):
                self.get(inner.id)
        del self.space[name]
        exec(compile(ast.Module([node], []), f"{self.module}:{name}", "exec"), self.space)  # noqa: S102
        return self.space[name]

    def imported(self, name: str):
        module, item = self.imports.get(name, (None, None))
        anything = typing.Any if name[:1].isupper() else MagicMock()
        if module is None:
            return anything
        if module.split(".")[0] == "vllm":
            source = Source.of(module)
            return source.get(item) if source and item in source.names | source.imports else anything
        try:
            found = importlib.import_module(module)
            return getattr(found, item) if item else found
        except ImportError:
            return anything


def output_class():
    for module in RUN_BATCH:
        source = Source.of(module)
        if source and "BatchRequestOutput" in source.names:
            return source.get("BatchRequestOutput")
    sys.exit(f"no BatchRequestOutput in {ROOT}")


def main():
    output = output_class()
    for line in pathlib.Path("results.jsonl").read_text().splitlines():
        wire = json.loads(line)
        name = wire["custom_id"]
        try:
            read = output.model_validate_json(line)
            assert read.custom_id == name and read.error is None
            body = read.response.body
            kind = type(body).__name__
            assert read.response.status_code == 200 and kind == EXPECTED[name.split("-")[0]], kind
            if kind == "ChatCompletionResponse":
                assert body.choices[0].message.content == wire["response"]["body"]["choices"][0]["message"]["content"]
                assert body.usage.prompt_tokens > 0
            else:
                assert body.data[0].embedding == wire["response"]["body"]["data"][0]["embedding"]
            if name == "chat-closed":
                # What vLLM's classes do not know of stays in them.
                assert "slm" in json.loads(read.model_dump_json())["response"]["body"]["choices"][0]
            print(f"ok {name}: {kind}")
        except Exception as error:  # noqa: BLE001
            print(f"FAILED {name}: {' '.join(str(error).split())}")


EXPECTED = {"chat": "ChatCompletionResponse", "embed": "EmbeddingResponse"}

if __name__ == "__main__":
    main()
