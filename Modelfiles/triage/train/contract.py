"""What triage answers and how an answer is written as a branch after the header; knows no weights and no phrases."""

import json
from dataclasses import dataclass

# By precedence: of two requests in one ticket, the earlier queue wins.
QUEUES = ["legal", "account access", "billing", "shipping", "technical", "other"]
FIELDS = {
    "queue": ["billing", "shipping", "account access", "technical", "legal", "other"],
    "urgency": [1, 2, 3],
    "refund": [False, True],
}

SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL_TOKENS = [END, SYSTEM, USER, ASSISTANT]


@dataclass
class Ticket:
    text: str
    queue: str
    urgency: int
    refund: bool
    order_id: str | None

    def to_json(self):
        return json.dumps(self.__dict__, ensure_ascii=False)


def load_tickets(path):
    with open(path, encoding="utf-8") as lines:
        return [Ticket(**json.loads(line)) for line in lines]


def closed_branch(field, value):
    """`queue: billing`, `urgency: 2`, `refund: true`, as slm scores them (without the closing token)."""
    return f"{field}: {value if isinstance(value, str) else json.dumps(value)}"


def record_branch(ticket):
    """The record that slm decodes under constraint, as Python and serde_json both print it with spaces."""
    record = {"queue": ticket.queue, "urgency": ticket.urgency, "order_id": ticket.order_id}
    return json.dumps(record, ensure_ascii=False)
