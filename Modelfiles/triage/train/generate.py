"""Writes training tickets: composes phrases of one or more queues, adds cues, numbers and noise, and labels the result.

The labels follow the guide in ../README.md: the earliest queue of its precedence wins, a cue of urgency moves the
urgency of the main request, and a wish for money back is independent of the queue. Knows no tokens and no weights.
"""

import argparse
import random
import string
from pathlib import Path

from contract import QUEUES, Ticket
from grammar import expand, read_sections, slots_of, tidy
from noise import make_noisy

PHRASES = Path(__file__).parent / "phrases"
FILES = {
    "billing": "billing.txt",
    "shipping": "shipping.txt",
    "account access": "access.txt",
    "technical": "technical.txt",
    "legal": "legal.txt",
    "other": "other.txt",
}
SHARES = {"billing": 20, "shipping": 19, "account access": 16, "technical": 19, "legal": 11, "other": 18}


class Phrases:
    """All phrase files, parsed: the requests of each queue by (urgency, refund), the slots, and the extras."""

    def __init__(self, folder=PHRASES):
        self.slots = dict(read_sections(folder / "slots.txt"))
        self.extras = dict(read_sections(folder / "extras.txt"))
        self.requests = {queue: self.read_requests(folder / name) for queue, name in FILES.items()}

    @staticmethod
    def read_requests(path):
        """Phrases with their labels; a heading is the urgency, then `refund` where money is asked for."""
        requests = []
        for heading, phrases in read_sections(path):
            urgency, _, refund = heading.partition(" ")
            requests += [(phrase, int(urgency), refund == "refund") for phrase in phrases]
        return requests


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
        urgency, refund, sentences = self.body(queue)

        if refund is False and queue not in ("other", "legal") and rng.random() < 0.10:
            sentences.insert(rng.randint(1, len(sentences)), self.extra("refund"))
            refund, urgency = True, max(urgency, 2)
        elif not refund and rng.random() < 0.05:
            sentences.append(self.extra("no refund"))

        sentences = self.with_background(sentences)
        cue = rng.random()
        if cue < 0.13 and not (queue == "other" and urgency == 1):
            self.insert(sentences, self.extra("urgent"))
            urgency = 3
        elif cue < 0.20 and urgency < 3:
            self.insert(sentences, self.extra("calm"))
            urgency = 1
        if rng.random() < 0.12:
            self.insert(sentences, self.extra("not order"))
        if self.order_id is None and rng.random() < (0.02 if queue == "other" else 0.12):
            self.insert(sentences, self.extra("order"))

        text = self.layout(sentences)
        text = make_noisy(text, rng, protected=self.order_id)
        order_id = self.order_id
        if order_id is not None and order_id not in text:
            # The whole text was written in another case; the label copies what is written.
            at = text.lower().find(order_id.lower())
            order_id = text[at : at + len(order_id)]
        return Ticket(text, queue, urgency, refund, order_id)

    def body(self, queue):
        """The requests: mostly one, sometimes a second of the same queue or of a queue that gives way to this one."""
        phrase, urgency, refund = self.request(queue)
        sentences = [phrase]
        more = self.rng.random()
        if more < 0.15:
            second, second_urgency, second_refund = self.request(queue)
            sentences.append(second)
        elif more < 0.27 and queue != "other":
            weaker = QUEUES[QUEUES.index(queue) + 1 :]
            second, second_urgency, second_refund = self.request(self.rng.choice(weaker))
            sentences.insert(self.rng.randint(0, 1), second)
        else:
            return urgency, refund, sentences
        return max(urgency, second_urgency), refund or second_refund, sentences

    def request(self, queue):
        phrase, urgency, refund = self.rng.choice(self.phrases.requests[queue])
        return self.write(phrase), urgency, refund

    def extra(self, name):
        return self.write(self.rng.choice(self.phrases.extras[name]))

    def write(self, phrase):
        return tidy(expand(phrase, self.rng, self.fill))

    def with_background(self, sentences):
        n_background = self.rng.choices([0, 1, 2, 4, 8], [50, 28, 12, 7, 3])[0]
        for _ in range(n_background):
            self.insert(sentences, self.extra("background"))
        return sentences

    def insert(self, sentences, sentence):
        sentences.insert(self.rng.randint(0, len(sentences)), sentence)

    def layout(self, sentences):
        """Joins the sentences as letters, chats or lists do."""
        rng = self.rng
        written = []
        for sentence in sentences:
            sentence = sentence[0].upper() + sentence[1:]
            if sentence[-1] not in ".!?":
                question = sentence.split()[0].lower() in QUESTION_WORDS
                sentence += "?" if question and rng.random() < 0.8 else rng.choice([".", ".", ".", "!", ""])
            written.append(sentence)
        text = rng.choice([" ", " ", " ", " ", "\n", "\n\n"]).join(written)
        if rng.random() < 0.3:
            greeting = self.extra("greeting")
            greeting = greeting[0].upper() + greeting[1:]
            text = greeting + rng.choice([", ", ",\n", ",\n\n", "! ", " ", ". "]) + text
        if rng.random() < 0.25:
            closing = self.extra("closing")
            text += rng.choice([" ", "\n", "\n\n", ", "]) + closing[0].upper() + closing[1:]
        return text

    def fill(self, slot):
        if slot in VALUES:
            return VALUES[slot](self.rng)
        if slot == "order":
            return self.fill_order()
        return expand(self.rng.choice(self.phrases.slots[slot]), self.rng, self.fill)

    def fill_order(self):
        """The ticket's order number: made at the first use and repeated after that."""
        if self.order_id is None:
            self.order_id = order_number(self.rng)
        return self.order_id


QUESTION_WORDS = set(
    "what where when why how who which whose is are do does did can could will would should may am has have was".split()
)


def digits(rng, low, high):
    n_digits = rng.randint(low, high)
    return "".join(rng.choice(string.digits) for _ in range(n_digits))


def letters(rng, low, high):
    return "".join(rng.choice(string.ascii_uppercase) for _ in range(rng.randint(low, high)))


def order_number(rng):
    kind = rng.random()
    if kind < 0.55:
        return digits(rng, 3, 9).lstrip("0") or "7"
    if kind < 0.70:
        return letters(rng, 1, 3) + rng.choice(["-", "", "-"]) + digits(rng, 3, 7)
    if kind < 0.80:
        return digits(rng, 2, 4) + "-" + digits(rng, 3, 7)
    if kind < 0.86:
        return digits(rng, 3, 3) + "-" + digits(rng, 4, 7) + "-" + digits(rng, 2, 7)
    if kind < 0.92:
        return digits(rng, 3, 5) + rng.choice(["-", ""]) + letters(rng, 1, 2)
    return "".join(rng.choice(string.ascii_uppercase + string.digits) for _ in range(5)) + rng.choice(string.digits)


def money(rng):
    amount = rng.choice([rng.randint(2, 99), rng.randint(10, 999), rng.randint(100, 9999)])
    cents = rng.choice(["", "", f".{rng.randint(0, 99):02}", ".99", ".00"])
    form = rng.choice(["${}", "${}", "{}$", "€{}", "{} euros", "{} dollars", "£{}", "{} EUR", "{} USD", "{}", "{} bucks"])
    return form.format(f"{amount}{cents}")


def date(rng):
    day, month = rng.randint(1, 28), rng.randint(1, 12)
    name = "January February March April May June July August September October November December".split()[month - 1]
    return rng.choice(
        [f"{day} {name}", f"{name} {day}", f"{day}.{month}.", f"{month}/{day}", f"{day}/{month}/2024", f"2025-{month:02}-{day:02}",
         f"the {day}th", f"{name[:3]} {day}", f"the {day}th of {name}"]
    )  # fmt: skip


VALUES = {
    "n": lambda rng: str(rng.choice([2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15, 20, 25, 30, 40, 50, 200])),
    "money": money,
    "date": date,
    "phone": lambda rng: rng.choice(["+", "0", "(0", ""]) + digits(rng, 3, 5) + rng.choice([" ", "-", ""]) + digits(rng, 5, 7),
    "invoice": lambda rng: rng.choice(["INV-", "", "#", "RE", "C", "2024-", "CS"]) + digits(rng, 4, 8),
    "tracking": lambda rng: letters(rng, 1, 2) + digits(rng, 9, 14) + rng.choice(["", letters(rng, 2, 2)]),
    "errcode": lambda rng: rng.choice(["", "E", "0x", "ERR_", "F", "err "]) + digits(rng, 2, 4),
    "version": lambda rng: f"{rng.randint(1, 14)}.{rng.randint(0, 12)}",
}


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
