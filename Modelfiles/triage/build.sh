#!/bin/sh
# Builds triage.gguf from nothing but this folder: a virtual environment, generated tickets, training, conversion and
# quantization. Needs Python 3.11; everything it makes on the way lands in train/venv and train/out.
set -eu
cd "$(dirname "$0")/train"

[ -d venv ] || python3 -m venv venv
venv/bin/pip install --quiet --requirement requirements.txt

venv/bin/python train.py out --dev ../dev.jsonl
venv/bin/python convert.py out ../triage.gguf
venv/bin/python evaluate.py ../triage.gguf out/tokenizer.json ../dev.jsonl ../tickets.jsonl
