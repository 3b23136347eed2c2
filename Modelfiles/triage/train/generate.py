"""Writes training tickets: composes phrases of one or more queues, adds cues, numbers and noise, and labels the result.

The labels follow the guide in ../README.md: the earliest queue of its precedence wins, a cue of urgency moves the
urgency of the main request, and a wish for money back is independent of the queue. Knows no tokens and no weights.
"""

import argparse
import math
import random
from pathlib import Path

from contract import QUEUES, Ticket
from grammar import expand, n_variants, read_sections, tidy
from noise import make_noisy
from values import VALUES, order_number

PHRASES = Path(__file__).parent / "phrases"
FILES = {
    "billing": "billing.txt",
    "shipping": "shipping.txt",
    "account access": "access.txt",
    "technical": "technical.txt",
    "legal": "legal.txt",
    "other": "other.txt",
}
# Stands for the order number until the noise is done, so that no noise changes what the label copies.
ORDER_MARK = "\ue000"
SHARES = {"billing": 19, "shipping": 18, "account access": 16, "technical": 19, "legal": 12, "other": 19}
QUESTION_WORDS = set(
    "what where when why how who which whose is are do does did can could will would should may am has have was".split()
)


class Phrases:
    """All phrase files, parsed: each queue's requests and details, the slots, the extras, and the synonyms."""

    def __init__(self, folder=PHRASES):
        self.slots = dict(read_sections(folder / "slots.txt"))
        self.extras = dict(read_sections(folder / "extras.txt"))
        self.requests, self.weights, self.details = {}, {}, {}
        for queue, name in FILES.items():
            sections = read_sections(folder / name)
            self.details[queue] = [p for heading, phrases in sections if heading == "detail" for p in phrases]
            self.requests[queue] = [
                (phrase, *labels_of(heading)) for heading, phrases in sections if heading != "detail" for phrase in phrases
            ]
            # A phrase with many variants is written more often, but not as much more often as it has variants.
            self.weights[queue] = [1 + math.log10(n_variants(phrase, self.slots)) for phrase, _, _ in self.requests[queue]]
        self.synonyms = read_synonyms(folder / "synonyms.txt")


def labels_of(heading):
    """The urgency and the wish for money back of a section: `2` or `2 refund`."""
    urgency, _, refund = heading.partition(" ")
    if refund not in ("", "refund"):
        raise ValueError(f"unknown heading `{heading}`")
    return int(urgency), refund == "refund"


def read_synonyms(path):
    synonyms = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            word, _, others = line.partition(" = ")
            synonyms[word] = others.split(", ")
    return synonyms


class Writer:
    """Writes one ticket after another from a seed."""

    def __init__(self, phrases, seed):
        self.phrases = phrases
        self.rng = random.Random(seed)
        self.order_id = None

    def ticket(self):
        rng = self.rng
        self.order_id = None
        queue = rng.choices(list(SHARES), list(SHARES.values()))[0]
        urgency, refund, sentences = self.requested(queue)
        if not refund and queue not in ("other", "legal") and rng.random() < 0.09:
            sentences.insert(rng.randint(1, len(sentences)), self.extra("refund"))
            refund, urgency = True, max(urgency, 2)
        elif not refund and rng.random() < 0.04:
            self.insert(sentences, self.extra("no refund"))
        self.surround(sentences, queue)
        cue = rng.random()
        if cue < 0.11 and not (queue == "other" and urgency == 1):
            self.insert(sentences, self.extra("urgent"))
            urgency = 3
        elif cue < 0.17 and urgency < 3:
            self.insert(sentences, self.extra("calm"))
            urgency = 1
        if rng.random() < 0.10:
            self.insert(sentences, self.extra("not order"))
        if self.order_id is None and rng.random() < (0.02 if queue == "other" else 0.12):
            self.insert(sentences, self.extra("order"))
        text = self.layout(sentences)
        text = make_noisy(text, rng, self.phrases.synonyms)
        order_id = self.order_id
        if order_id is not None and text.islower() and rng.random() < 0.5:
            order_id = order_id.lower()
        return Ticket(text.replace(ORDER_MARK, order_id or ""), queue, urgency, refund, order_id)

    def requested(self, queue):
        """The requests: mostly one, sometimes a second of the same queue or of a queue that gives way to this one."""
        rng = self.rng
        first, urgency, refund = self.request(queue)
        kind = rng.random()
        if kind < 0.10:
            second_queue = queue
        elif kind < 0.26 and queue != "other":
            second_queue = rng.choice(QUEUES[QUEUES.index(queue) + 1 :])
        else:
            return urgency, refund, [first]
        second, second_urgency, second_refund = self.request(second_queue)
        if rng.random() < 0.4:
            second = rng.choice(["also", "and", "another thing:", "besides,", "by the way", "oh and", "plus", "2)"]) + " " + second
        sentences = [first, second] if rng.random() < 0.6 else [second, first]
        return max(urgency, second_urgency), refund or second_refund, sentences

    def request(self, queue):
        requests = self.phrases.requests[queue]
        phrase, urgency, refund = self.rng.choices(requests, self.phrases.weights[queue])[0]
        return self.write(phrase), urgency, refund

    def surround(self, sentences, queue):
        """Adds what says nothing new: details of the matter, an opening, background, things that went well."""
        rng = self.rng
        for _ in range(rng.choices([0, 1, 2, 3], [55, 27, 13, 5])[0]):
            if self.phrases.details[queue]:
                sentences.insert(rng.randint(1, len(sentences)), self.write(rng.choice(self.phrases.details[queue])))
        for _ in range(rng.choices([0, 1, 2, 4, 8, 14], [50, 26, 12, 7, 4, 1])[0]):
            self.insert(sentences, self.extra("background"))
        if rng.random() < 0.10:
            self.insert(sentences, self.extra("mention"))
        if rng.random() < 0.12:
            sentences.insert(0, self.extra("opening"))

    def insert(self, sentences, sentence):
        sentences.insert(self.rng.randint(0, len(sentences)), sentence)

    def extra(self, name):
        return self.write(self.rng.choice(self.phrases.extras[name]))

    def write(self, phrase):
        return tidy(expand(phrase, self.rng, self.fill))

    def fill(self, slot):
        if slot == "order":
            # The ticket's order number: made at the first use and repeated after that.
            if self.order_id is None:
                self.order_id = order_number(self.rng)
            return ORDER_MARK
        if slot in VALUES:
            return VALUES[slot](self.rng)
        return expand(self.rng.choice(self.phrases.slots[slot]), self.rng, self.fill)

    def layout(self, sentences):
        """Joins the sentences as letters, chats, lists or one long breath do."""
        rng = self.rng
        sentences = [sentence for sentence in sentences if sentence]
        if rng.random() < 0.15:
            text = sentences[0]
            for sentence in sentences[1:]:
                text += rng.choice([", ", ", ", " and ", " but ", " - ", "... ", "; ", " ", " so "]) + sentence
        else:
            text = rng.choice([" ", " ", " ", " ", "\n", "\n\n"]).join(map(self.punctuated, sentences))
        if rng.random() < 0.3:
            text = capitalized(self.extra("greeting")) + rng.choice([", ", ",\n", ",\n\n", "! ", " ", ". "]) + text
        if rng.random() < 0.25:
            text += rng.choice([" ", "\n", "\n\n", ", "]) + capitalized(self.extra("closing"))
        return text

    def punctuated(self, sentence):
        sentence = capitalized(sentence).rstrip(",; ")
        if sentence[-1] in ".!?":
            return sentence
        if sentence.split()[0].lower() in QUESTION_WORDS and self.rng.random() < 0.8:
            return sentence + "?"
        return sentence + self.rng.choice([".", ".", ".", "!", ""])


def capitalized(text):
    return text[:1].upper() + text[1:]


def main():
    parser = argparse.ArgumentParser(description="write training tickets as JSON lines")
    parser.add_argument("n_tickets", type=int)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    writer = Writer(Phrases(), args.seed)
    for _ in range(args.n_tickets):
        print(writer.ticket().to_json())


if __name__ == "__main__":
    main()
