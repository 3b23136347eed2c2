#!/bin/sh
# Builds triage.gguf from nothing but this folder: a virtual environment, generated tickets, training, conversion and
# quantization. About a quarter of an hour on two idle cores; everything it needs lands in train/.
set -eu
cd "$(dirname "$0")/train"

[ -d venv ] || python3 -m venv venv
venv/bin/pip install --quiet --requirement requirements.txt

venv/bin/python train.py out --dev ../dev.jsonl
venv/bin/python convert.py out ../triage.gguf
venv/bin/python evaluate.py ../triage.gguf out/tokenizer.json ../dev.jsonl ../tickets.jsonl
