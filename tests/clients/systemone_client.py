#!/usr/bin/env python3
"""The client of System One, synchronous and asynchronous, against `/v1/systemone`."""

import asyncio

from systemone import AsyncClient, Choice, Client, Noul, Score, SystemOneError

from checks import DOUBLE_CHARGE, TRIAGE_MODEL, URL, check, equal, near, raises, run, sums_to_one

client = Client(URL, model=TRIAGE_MODEL)
QUESTIONS = {
    "money": Noul("Is money asked back?"),
    "queue": Choice("Which queue?", {"billing": "payments", "shipping": None, "other": None}),
    "urgency": Score("How urgent?", ["can wait", "this week", "now"]),
}


@check("POST /v1/systemone", "noul, choice and score")
def _():
    reply = client.system_one(DOUBLE_CHARGE, QUESTIONS)
    equal(([*reply.nouls], [*reply.choices], [*reply.scores]), (["money"], ["queue"], ["urgency"]))
    assert 0 <= reply.nouls["money"].noul <= 1
    choice, score = reply.choices["queue"], reply.scores["urgency"]
    equal(list(choice.probabilities), ["billing", "shipping", "other"])
    sums_to_one(choice.probabilities.values())
    equal(choice.choice, max(choice.probabilities, key=choice.probabilities.get))
    near(choice.confidence, (max(choice.probabilities.values()) - 1 / 3) / (1 - 1 / 3))
    equal(score.legend, {"0": "can wait", "1": "this week", "2": "now"})
    sums_to_one(score.probabilities.values())
    near(score.score, sum(int(level) * chance for level, chance in score.probabilities.items()))
    assert TRIAGE_MODEL in reply.model
    assert reply.usage.input_tokens > 0 and reply.usage.output_tokens == 0
    assert reply.latency_ms > 0


@check("POST /v1/systemone", "a state of text, an object or a list, questions as plain dictionaries")
def _():
    for state in (DOUBLE_CHARGE, {"subject": "refund", "body": [DOUBLE_CHARGE, None, 2]}, [{"turn": 1}, DOUBLE_CHARGE]):
        reply = client.system_one(state, {"q": {"type": "noul", "instructions": "Is this about money?"}})
        assert 0 <= reply.nouls["q"].noul <= 1


@check("POST /v1/systemone", "criteria of a noul as text, as an object, or none")
def _():
    for criteria in (None, "any mention of a charge", {"true": "money is mentioned", "false": "it is not"}):
        assert 0 <= client.system_one(DOUBLE_CHARGE, {"q": Noul("Money?", criteria)}).nouls["q"].noul <= 1


@check("POST /v1/systemone", "2 to 255 options, 2 to 10 levels")
def _():
    for n_options in (2, 64, 255):
        options = {f"option {n}": None for n in range(n_options)}
        answer = client.system_one(DOUBLE_CHARGE, {"q": Choice("Which?", options)}).choices["q"]
        equal(list(answer.probabilities), list(options))
        sums_to_one(answer.probabilities.values())
    for n_levels in (2, 10):
        answer = client.system_one(DOUBLE_CHARGE, {"q": Score("How bad?", [f"level {n}" for n in range(n_levels)])}).scores["q"]
        assert 0 <= answer.score <= n_levels - 1


@check("POST /v1/systemone", "400 questions about one state, each as if it were alone")
def _():
    questions = {f"q{n}": Noul(f"Is the order number {1000 + n}?") for n in range(400)}
    reply = client.system_one(DOUBLE_CHARGE, questions)
    equal(list(reply.nouls), list(questions))
    equal(client.system_one(DOUBLE_CHARGE, {"q182": questions["q182"]}).nouls["q182"], reply.nouls["q182"])


@check("POST /v1/systemone", "the same bits every time, alone and at once with others")
async def _():
    async with AsyncClient(URL, model=TRIAGE_MODEL) as aclient:
        alone = await aclient.system_one(DOUBLE_CHARGE, QUESTIONS)
        for reply in await asyncio.gather(*(aclient.system_one(DOUBLE_CHARGE, QUESTIONS) for _ in range(8))):
            equal((reply.nouls, reply.choices, reply.scores), (alone.nouls, alone.choices, alone.scores))


@check("POST /v1/systemone", "what is wrong is said in `detail`")
def _():
    choice = {"type": "choice", "instructions": "?", "criteria": {"only": None}}
    for word, question in (
        ("criteria", choice),
        ("255", {**choice, "criteria": {str(n): None for n in range(256)}}),
        ("criteria", {"type": "score", "instructions": "?", "criteria": ["only"]}),
        ("10", {"type": "score", "instructions": "?", "criteria": [str(n) for n in range(11)]}),
        ("guess", {"type": "guess", "instructions": "?"}),
        ("instructions", {"type": "noul"}),
        ("tone", {"type": "noul", "instructions": "?", "tone": "mild"}),
    ):
        with raises(SystemOneError, word, status=400):
            client.system_one(DOUBLE_CHARGE, {"q": question})
    with raises(SystemOneError, "400", status=400):
        client.system_one(DOUBLE_CHARGE, {f"q{n}": Noul("?") for n in range(401)})
    with raises(SystemOneError, "nowhere", status=404):
        client.system_one(DOUBLE_CHARGE, QUESTIONS, model="nowhere")


if __name__ == "__main__":
    run("systemone-client")
