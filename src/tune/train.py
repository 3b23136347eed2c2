#!/usr/bin/env python3
"""Trains the LoRA adapter of one tuning job of slm, with PyTorch, transformers and PEFT.

    python train.py FOLDER [--until-eof]

FOLDER has job.json (settings), train.jsonl and valid.jsonl: a row has the tokens of its prompt and answer as slm makes them, and
how many of them are given. Only the others count in the loss. No tokenizer and no chat template has a part here.

Progress goes to standard output, one JSON object per line. The best adapter so far is in FOLDER/adapter, as PEFT saves it, and
FOLDER/checkpoint has what a later run needs to go on. SIGINT and SIGTERM, and with --until-eof the end of standard input, write a
checkpoint after the step in progress.
"""

import json
import math
import os
import random
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

# Nothing is downloaded: weights are a file or a folder.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

STOPPED = 130
stop_wanted = False


def say(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)


def want_stop(_signal, _frame):
    global stop_wanted
    stop_wanted = True


def read_rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def load_base(job, folder, torch, device, dtype):
    """The base model, its weights frozen: a folder of Hugging Face's, or a GGUF that transformers reads."""
    from transformers import AutoModelForCausalLM

    weights = folder / job["weights"]["path"]
    if job["weights"]["kind"] == "gguf":
        model = AutoModelForCausalLM.from_pretrained(str(weights.parent), gguf_file=weights.name, dtype=dtype)
    else:
        model = AutoModelForCausalLM.from_pretrained(str(weights), dtype=dtype)
    model.config.use_cache = False
    return model.to(device)


def batches(rows, n_rows, order):
    """Rows of about one length together, in a random order of batches: padding is computed like any other token."""
    rows = list(rows)
    order.shuffle(rows)
    span = n_rows * 16
    found = []
    for begin in range(0, len(rows), span):
        part = sorted(rows[begin : begin + span], key=lambda row: len(row["tokens"]))
        found += [part[at : at + n_rows] for at in range(0, len(part), n_rows)]
    order.shuffle(found)
    return found


def losses(model, rows, torch, device):
    """For each row the sum of its answer's negative log-likelihoods, and whether every token of it is the likeliest one."""
    longest = max(len(row["tokens"]) for row in rows)
    # All answers end in the last column, so that logits are needed of the last columns alone.
    n_last = max(len(row["tokens"]) - row["n_given"] for row in rows) + 1
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    counts = torch.zeros((len(rows), n_last - 1), dtype=torch.bool)
    for at, row in enumerate(rows):
        n = len(row["tokens"])
        ids[at, longest - n :] = torch.tensor(row["tokens"])
        mask[at, longest - n :] = 1
        counts[at, n_last - 1 - (n - row["n_given"]) :] = True
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    ids, mask, counts, positions = (one.to(device) for one in (ids, mask, counts, positions))
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=n_last).logits
    said, right = logits[:, -n_last:-1].float(), ids[:, -(n_last - 1) :]
    each = torch.nn.functional.cross_entropy(said.transpose(1, 2), right, reduction="none")
    is_right = (said.argmax(-1) == right) | ~counts
    return (each * counts).sum(-1), is_right.all(-1)


def validate(model, rows, n_rows, torch, device):
    """Mean loss of a row, each weighed as in training, and the share of rows whose whole answer is the likeliest one."""
    model.eval()
    total, weights, n_right, n_seen = 0.0, 0.0, 0, 0
    ordered = sorted(rows, key=lambda row: len(row["tokens"]))
    with torch.no_grad():
        for begin in range(0, len(ordered), n_rows):
            part = ordered[begin : begin + n_rows]
            each, right = losses(model, part, torch, device)
            for row, loss, is_right in zip(part, each.tolist(), right.tolist()):
                total += row["weight"] * loss
                weights += row["weight"]
                n_right += is_right
            n_seen += len(part)
            if stop_wanted:
                break
    model.train()
    return total / max(weights, 1e-9), n_right / max(n_seen, 1)


def rate(settings, step, n_steps):
    """The share of the learning rate at a step: up over the first steps, then down in a line to nothing."""
    warmup = max(1, round(settings["warmup"] * n_steps))
    return min((step + 1) / warmup, max(0.0, (n_steps - step) / max(1, n_steps - warmup)))


class Job:
    def __init__(self, folder):
        import torch
        from peft import LoraConfig, get_peft_model

        self.folder, self.torch = folder, torch
        self.job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        self.settings = self.job["settings"]
        if self.settings.get("threads"):
            torch.set_num_threads(self.settings["threads"])
        self.train, self.valid = read_rows(folder / "train.jsonl"), read_rows(folder / "valid.jsonl")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        half = self.device == "cuda" and torch.cuda.is_bf16_supported()
        torch.manual_seed(self.settings["seed"])
        base = load_base(self.job, folder, torch, self.device, torch.bfloat16 if half else torch.float32)
        config = LoraConfig(
            r=self.settings["rank"],
            lora_alpha=self.settings["alpha"],
            lora_dropout=self.settings["dropout"],
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        self.model = get_peft_model(base, config)
        self.model.train()
        self.trained = [one for one in self.model.parameters() if one.requires_grad]
        for one in self.trained:
            one.data = one.data.float()
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=self.settings["learning_rate"], weight_decay=self.settings["weight_decay"]
        )
        per_epoch = math.ceil(len(self.train) / self.settings["batch_rows"])
        self.n_steps = per_epoch * self.settings["epochs"]
        self.state = {"job": self.job["id"], "epoch": 0, "done_in_epoch": 0, "step": 0, "best": None, "worse": 0, "seconds": 0.0}
        self.started = time.monotonic()
        say(
            "begin",
            device=self.device,
            torch=torch.__version__,
            rows=len(self.train),
            steps=self.n_steps,
            trained_parameters=sum(one.numel() for one in self.trained),
            parameters=sum(one.numel() for one in self.model.parameters()),
        )

    def seconds(self):
        return self.state["seconds"] + time.monotonic() - self.started

    def save_adapter(self):
        place, half = self.folder / "adapter", self.folder / "adapter.part"
        shutil.rmtree(half, ignore_errors=True)
        self.model.save_pretrained(str(half))
        shutil.rmtree(place, ignore_errors=True)
        half.rename(place)

    def checkpoint(self):
        from peft import get_peft_model_state_dict

        state = {**self.state, "seconds": self.seconds()}
        kept = {
            "state": state,
            "adapter": get_peft_model_state_dict(self.model),
            "optimizer": self.optimizer.state_dict(),
            "random": self.torch.get_rng_state(),
        }
        half = self.folder / "checkpoint.part"
        self.torch.save(kept, half)
        half.replace(self.folder / "checkpoint")
        say("checkpoint", step=state["step"])

    def go_on(self):
        """Takes up where an earlier run of the same job was stopped."""
        from peft import set_peft_model_state_dict

        place = self.folder / "checkpoint"
        if not place.exists():
            return
        kept = self.torch.load(place, map_location=self.device, weights_only=True)
        if kept["state"]["job"] != self.job["id"]:
            return
        set_peft_model_state_dict(self.model, kept["adapter"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.torch.set_rng_state(kept["random"].cpu())
        self.state = kept["state"]
        say("resumed", step=self.state["step"], epoch=self.state["epoch"])

    def step(self, rows):
        torch, settings, state = self.torch, self.settings, self.state
        for group in self.optimizer.param_groups:
            group["lr"] = settings["learning_rate"] * rate(settings, state["step"], self.n_steps)
        self.optimizer.zero_grad(set_to_none=True)
        total, most = 0.0, settings["micro_rows"]
        for begin in range(0, len(rows), most):
            part = rows[begin : begin + most]
            each, _ = losses(self.model, part, torch, self.device)
            weights = torch.tensor([row["weight"] for row in part], device=self.device)
            loss = (each * weights).sum() / len(rows)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        if not math.isfinite(total):
            say("error", message=f"the loss is {total} at step {state['step']}; try a lower learning rate")
            sys.exit(1)
        return total

    def epoch_ended(self):
        """Validates, keeps the adapter where it is the best one, and says whether training goes on."""
        loss, accuracy = validate(self.model, self.valid, self.settings["batch_rows"], self.torch, self.device)
        if stop_wanted:
            return True
        state = self.state
        is_best = state["best"] is None or loss < state["best"]["loss"]
        state["epoch"] += 1
        state["done_in_epoch"] = 0
        if is_best:
            state["best"], state["worse"] = {"loss": loss, "accuracy": accuracy, "epoch": state["epoch"]}, 0
            self.save_adapter()
        else:
            state["worse"] += 1
        say("valid", epoch=state["epoch"], loss=loss, accuracy=accuracy, best=is_best)
        self.checkpoint()
        return state["worse"] < self.settings["patience"]

    def run(self):
        state, settings = self.state, self.settings
        saved = time.monotonic()
        goes_on = state["worse"] < settings["patience"]
        while goes_on and state["epoch"] < settings["epochs"]:
            # The order of an epoch depends on the seed alone, so that a later run goes on within it.
            order = random.Random(f"{settings['seed']} {state['epoch']}")
            for rows in batches(self.train, settings["batch_rows"], order)[state["done_in_epoch"] :]:
                loss = self.step(rows)
                state["step"] += 1
                state["done_in_epoch"] += 1
                say("step", step=state["step"], of=self.n_steps, epoch=state["epoch"] + 1, loss=loss, seconds=self.seconds())
                if stop_wanted:
                    break
                if time.monotonic() - saved > settings["checkpoint_seconds"]:
                    self.checkpoint()
                    saved = time.monotonic()
            goes_on = not stop_wanted and self.epoch_ended()
            if stop_wanted:
                self.checkpoint()
                say("stopped", step=state["step"])
                return STOPPED
        say("done", epochs=state["epoch"], seconds=self.seconds(), best=state["best"])
        return 0


def stop_at_eof():
    """Whoever started this holds its standard input open as long as it is wanted."""
    sys.stdin.buffer.read()
    want_stop(None, None)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python train.py FOLDER [--until-eof]")
    if sys.argv[2:] == ["--until-eof"]:
        threading.Thread(target=stop_at_eof, daemon=True).start()
    folder = Path(sys.argv[1]).resolve()
    signal.signal(signal.SIGINT, want_stop)
    signal.signal(signal.SIGTERM, want_stop)
    try:
        job = Job(folder)
        job.go_on()
        return job.run()
    except ImportError as error:
        say("error", message=f"{error}; this Python needs torch, transformers, peft and gguf")
    except Exception as error:  # noqa: BLE001: whatever it is, slm has to say it.
        say("error", message=f"{type(error).__name__}: {error}")
        raise
    return 1


if __name__ == "__main__":
    sys.exit(main())
