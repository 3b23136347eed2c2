"""Trains the tokenizer: byte-level BPE with llama.cpp's pre-tokenizer `smollm` (digits one by one, then GPT-2's regex)."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from contract import FIELDS, SPECIAL_TOKENS, closed_branch, record_branch


def train_tokenizer(tickets, n_vocab):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(tickets), trainer)
    if tokenizer.get_vocab_size() != n_vocab:
        raise ValueError(f"the corpus gave {tokenizer.get_vocab_size()} tokens instead of {n_vocab}")
    return tokenizer


def corpus(tickets):
    """The tickets, and their answers, so that every word of the contract becomes a token of its own."""
    for ticket in tickets:
        yield ticket.text
        yield record_branch(ticket)
        for field in FIELDS:
            yield closed_branch(field, getattr(ticket, field))
