#!/usr/bin/env python3
"""Trains the LoRA adapter of one tuning job of slm, with TRL's SFTTrainer and PEFT.

    python train.py FOLDER [--until-eof]

FOLDER has job.json (settings), train.jsonl and valid.jsonl: a row has the tokens of its prompt and answer as slm makes them, and
how many of them are given. Only the others count in the loss. No tokenizer and no chat template has a part here.

Progress goes to standard output, one JSON object per line; what libraries print goes to standard error. The best adapter so far is
in FOLDER/adapter, as PEFT saves it, and FOLDER/checkpoints has what a later run needs to go on. SIGINT and SIGTERM, and with
--until-eof the end of standard input, write a checkpoint after the step in progress.
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

# Nothing is downloaded or reported: weights are a file or a folder.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The trainer is one process, and TRL refuses one that sees several GPUs.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")

STOPPED = 130
IGNORED = -100
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")

stop_wanted = threading.Event()
events = sys.stdout


def say(event, **values):
    try:
        print(json.dumps({"event": event, **values}), file=events, flush=True)
    except BrokenPipeError:
        # Whoever started this is gone; what was learned is still written.
        stop_wanted.set()


def read_rows(path):
    """Rows as the trainer takes them: tokens, labels of those that count, and how much the row counts."""
    rows = []
    with open(path, encoding="utf-8") as lines:
        for line in filter(str.strip, lines):
            row = json.loads(line)
            tokens, n_given = row["tokens"], row["n_given"]
            labels = [IGNORED] * n_given + tokens[n_given:]
            rows.append({"input_ids": tokens, "labels": labels, "weight": row["weight"]})
    return rows


def load_base(weights, dtype):
    """The base model: a folder of Hugging Face's, or a GGUF that transformers reads."""
    from transformers import AutoModelForCausalLM

    path = Path(weights["path"])
    if weights["kind"] == "gguf":
        model = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=dtype)
        # transformers has made plain numbers of them; a Trainer refuses a model that is still called quantized.
        model.is_quantized = False
        return model
    return AutoModelForCausalLM.from_pretrained(str(path), dtype=dtype)


def no_tokenizer():
    """SFTTrainer wants a tokenizer, also for rows that are tokens already: one that knows nothing."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    empty = Tokenizer(models.WordLevel({"<pad>": 0}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=empty, pad_token="<pad>")


def collate(rows):
    """Rows side by side. All answers end in the last column, so that logits are needed of the last columns alone."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)

    def padded(value, values):
        return torch.tensor([[value] * (longest - len(one)) + one for one in values])

    ids, labels = [row["input_ids"] for row in rows], [row["labels"] for row in rows]
    mask = padded(0, [[1] * len(one) for one in ids])
    return {
        "input_ids": padded(0, ids),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
        "labels": padded(IGNORED, labels),
        "weights": torch.tensor([row["weight"] for row in rows]),
    }


def trainer_class():
    """SFTTrainer with slm's loss. Made in a function, so that the signals are handled before PyTorch is imported."""
    import torch
    from torch.utils.data import Sampler
    from trl import SFTTrainer

    class ByLength(Sampler):
        """Rows of about one length together, in a random order of batches: padding is computed like any other token.

        The order depends on the seed and the epoch alone, so that a later run goes on within an epoch.
        """

        def __init__(self, rows, n_batch, seed):
            self.lengths, self.n_batch, self.seed, self.epoch = [len(ids) for ids in rows["input_ids"]], n_batch, seed, 0

        def set_epoch(self, epoch):
            self.epoch = epoch

        def __len__(self):
            return len(self.lengths)

        def __iter__(self):
            order = random.Random(f"{self.seed} {self.epoch}")
            rows = list(range(len(self.lengths)))
            order.shuffle(rows)
            batches, span = [], self.n_batch * 16
            for begin in range(0, len(rows), span):
                part = sorted(rows[begin : begin + span], key=self.lengths.__getitem__)
                batches += [part[at : at + self.n_batch] for at in range(0, len(part), self.n_batch)]
            # A batch that is not full comes last, or all after it would be cut elsewhere.
            short = [batch for batch in batches if len(batch) < self.n_batch]
            batches = [batch for batch in batches if len(batch) == self.n_batch]
            order.shuffle(batches)
            return iter([row for batch in batches + short for row in batch])

    class Trainer(SFTTrainer):
        def __init__(self, settings, **given):
            self.settings, self.n_right, self.n_seen = settings, 0, 0
            super().__init__(**given)
            # `compute_loss` gives the mean of a row, so that the parts of a step are averaged as well.
            self.model_accepts_loss_kwargs = False
            self.before, self.started = 0.0, time.monotonic()

        def seconds(self):
            return self.before + time.monotonic() - self.started

        def _get_train_sampler(self, train_dataset=None):
            return ByLength(train_dataset or self.train_dataset, self.settings["batch_rows"], self.settings["seed"])

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            """The mean over rows of their weight times the sum of their answer's negative log-likelihoods."""
            inputs = dict(inputs)
            labels, weights = inputs.pop("labels"), inputs.pop("weights")
            counts = labels != IGNORED
            n_last = int(counts.sum(-1).max()) + 1
            outputs = model(**inputs, use_cache=False, logits_to_keep=n_last)
            logits, labels, counts = outputs.logits[:, -n_last:-1].float(), labels[:, 1 - n_last :], counts[:, 1 - n_last :]
            each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
            if not self.model.training:
                self.n_right += int(((logits.argmax(-1) == labels) | ~counts).all(-1).sum())
                self.n_seen += len(labels)
            loss = (each.sum(-1) * weights).mean()
            return (loss, outputs) if return_outputs else loss

        def log(self, logs, start_time=None):
            logs["seconds"] = self.seconds()
            if "eval_loss" in logs:
                logs["eval_accuracy"] = self.n_right / max(self.n_seen, 1)
                self.n_right = self.n_seen = 0
            super().log(logs, start_time)

    return Trainer


def course(state):
    """What an earlier or this run said of its validations: the best one, and how many were worse after it."""
    valid = [one for one in state.log_history if "eval_loss" in one]
    if not valid:
        return None, 0
    at = min(range(len(valid)), key=lambda nth: valid[nth]["eval_loss"])
    best = {"loss": valid[at]["eval_loss"], "accuracy": valid[at]["eval_accuracy"], "epoch": at + 1}
    return best, len(valid) - 1 - at


def keep_best(state):
    """Puts the best adapter of the checkpoints where slm looks for it."""
    best = state.best_model_checkpoint
    if best is None or not Path(best).is_dir():
        return
    half, place = Path("adapter.part"), Path("adapter")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    for name in ADAPTER_FILES:
        shutil.copyfile(Path(best) / name, half / name)
    shutil.rmtree(place, ignore_errors=True)
    half.rename(place)


def last_checkpoint(folder):
    """The newest checkpoint that is whole: its state is written last."""
    from transformers.trainer_callback import TrainerState

    found = sorted(folder.glob("checkpoint-*"), key=lambda one: int(one.name.rpartition("-")[2]), reverse=True)
    for place in found:
        try:
            return place, TrainerState.load_from_json(str(place / "trainer_state.json"))
        except (OSError, ValueError):
            shutil.rmtree(place, ignore_errors=True)
    return None, None


def callback_class():
    from transformers import TrainerCallback

    class Told(TrainerCallback):
        """Says how far the training is, and ends it where validation does not get better or somebody wants to stop."""

        def __init__(self, settings, per_epoch):
            self.settings, self.per_epoch = settings, per_epoch
            self.saved, self.failed = time.monotonic(), None

        def on_log(self, args, state, control, logs=None, **_):
            if "loss" not in logs:
                return
            if not math.isfinite(logs["loss"]):
                self.failed = f"the loss is {logs['loss']} at step {state.global_step}; try a lower learning rate"
                control.should_training_stop = True
            epoch = math.ceil(state.epoch - 1e-9)
            say("step", step=state.global_step, of=state.max_steps, epoch=epoch, loss=logs["loss"], seconds=logs["seconds"])

        def on_step_end(self, args, state, control, **_):
            due = time.monotonic() - self.saved > self.settings["checkpoint_seconds"]
            control.should_save = control.should_save or due or stop_wanted.is_set()

        def on_epoch_end(self, args, state, control, **_):
            # An epoch that was stopped within is neither validated nor saved again.
            if state.global_step % self.per_epoch:
                control.should_evaluate = control.should_save = False

        def on_evaluate(self, args, state, control, metrics=None, **_):
            _, worse = course(state)
            n_epochs = round(state.epoch)
            say("valid", epoch=n_epochs, loss=metrics["eval_loss"], accuracy=metrics["eval_accuracy"], best=worse == 0)
            control.should_training_stop = worse >= self.settings["patience"]

        def on_save(self, args, state, control, **_):
            self.saved = time.monotonic()
            keep_best(state)
            say("checkpoint", step=state.global_step)
            control.should_training_stop = control.should_training_stop or stop_wanted.is_set()

    return Told


def train(folder):
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig

    # Paths in checkpoints are relative to the job, which may move to another machine.
    os.chdir(folder)
    job = json.loads(Path("job.json").read_text(encoding="utf-8"))
    settings = job["settings"]
    if settings.get("threads"):
        torch.set_num_threads(settings["threads"])
    rows, valid = read_rows("train.jsonl"), sorted(read_rows("valid.jsonl"), key=lambda row: len(row["input_ids"]))
    cuda = torch.cuda.is_available()
    half = cuda and torch.cuda.is_bf16_supported()
    n_batch = settings["batch_rows"]
    micro = max(n for n in range(1, n_batch + 1) if n_batch % n == 0 and n <= max(1, settings["micro_rows"]))
    places = Path("checkpoints") / job["id"]
    config = SFTConfig(
        output_dir=str(places),
        per_device_train_batch_size=micro,
        per_device_eval_batch_size=micro,
        gradient_accumulation_steps=n_batch // micro,
        gradient_checkpointing=False,
        num_train_epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="linear",
        warmup_steps=settings["warmup"],
        weight_decay=settings["weight_decay"],
        max_grad_norm=1.0,
        seed=settings["seed"],
        bf16=half,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        prediction_loss_only=True,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        disable_tqdm=True,
        report_to="none",
    )
    per_epoch = math.ceil(len(rows) / n_batch)
    n_steps = per_epoch * settings["epochs"]
    told = callback_class()(settings, per_epoch)
    trainer = trainer_class()(
        settings,
        model=load_base(job["weights"], torch.bfloat16 if half else torch.float32),
        args=config,
        data_collator=collate,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(valid),
        processing_class=no_tokenizer(),
        peft_config=LoraConfig(
            r=settings["rank"],
            lora_alpha=settings["alpha"],
            lora_dropout=settings["dropout"],
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[told],
    )
    trainer.remove_callback(PrinterCallback)
    parameters = list(trainer.model.parameters())
    say(
        "begin",
        device=trainer.args.device.type,
        torch=torch.__version__,
        rows=len(rows),
        steps=n_steps,
        trained_parameters=sum(one.numel() for one in parameters if one.requires_grad),
        parameters=sum(one.numel() for one in parameters),
    )
    last, state = last_checkpoint(places)
    if last is not None:
        trainer.before = next((one["seconds"] for one in reversed(state.log_history) if "seconds" in one), 0.0)
        keep_best(state)
        say("resumed", step=state.global_step, epoch=int(state.epoch))
    if last is None or not has_ended(state, n_steps, settings):
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
        state = trainer.state
    if told.failed is not None:
        say("error", message=told.failed)
        return 1
    if not has_ended(state, n_steps, settings):
        say("stopped", step=state.global_step)
        return STOPPED
    best, _ = course(state)
    say("done", epochs=round(state.epoch), seconds=trainer.seconds(), best=best)
    return 0


def has_ended(state, n_steps, settings):
    n_valid = sum("eval_loss" in one for one in state.log_history)
    return course(state)[1] >= settings["patience"] or (state.global_step >= n_steps and n_valid >= settings["epochs"])


def stop_at_eof():
    """Whoever started this holds its standard input open as long as it is wanted."""
    sys.stdin.buffer.read()
    stop_wanted.set()


def main():
    global events
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python train.py FOLDER [--until-eof]")
    if sys.argv[2:] == ["--until-eof"]:
        threading.Thread(target=stop_at_eof, daemon=True).start()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: stop_wanted.set())
    # Whatever a library prints is not for those who read the events.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        return train(Path(sys.argv[1]).resolve())
    except ImportError as error:
        say("error", message=f"{error}; this Python needs torch, transformers, trl, peft and gguf")
    except Exception as error:  # noqa: BLE001: whatever it is, slm has to say it.
        say("error", message=f"{type(error).__name__}: {error}")
        raise
    return 1


if __name__ == "__main__":
    sys.exit(main())
