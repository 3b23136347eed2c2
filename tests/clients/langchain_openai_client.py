#!/usr/bin/env python3
"""LangChain's classes for OpenAI: ChatOpenAI over both of its APIs, OpenAI, OpenAIEmbeddings and OpenAIDecisions."""

import asyncio
import functools
import json
import typing
import warnings

import openai
import pydantic
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from langchain_openai.decisions import Choice, Level, OpenAIDecisions, Predicate, Score

from checks import (
    ANSWER,
    CALLER_MODEL,
    CONCLUSION,
    DOUBLE_CHARGE,
    EMBEDDING_MODEL,
    FOX,
    FOX_MODEL,
    THINKER_MODEL,
    TRIAGE_MODEL,
    URL,
    check,
    equal,
    near,
    raises,
    run,
    sums_to_one,
)

warnings.simplefilter("ignore")
SERVER = {"base_url": f"{URL}/v1", "api_key": "any", "max_retries": 0}


class Order(pydantic.BaseModel):
    """Every text of this form is short, whatever a model would rather say."""

    customer: typing.Annotated[str, pydantic.Field(max_length=6)]
    items: typing.Annotated[int, pydantic.Field(ge=0, le=9)]


@tool
def get_weather(city: str, days: int = 1) -> str:
    """Say what the weather will be."""
    return f"{city}: rain in {days} days"


def chat(model=FOX_MODEL, **more):
    return ChatOpenAI(model=model, temperature=0, **SERVER, **more)


def achat(**more):
    """With connections of its own: those that the class keeps belong to the event loop of an earlier check."""
    return chat(http_async_client=openai.DefaultAsyncHttpxClient(), **more)


@check("POST /v1/chat/completions", "invoke, with usage and metadata")
def _():
    message = chat().invoke("hello")
    equal((message.content, message.response_metadata["finish_reason"]), (FOX, "stop"))
    assert message.usage_metadata["input_tokens"] > 0 and message.usage_metadata["output_tokens"] > 0


@check("POST /v1/chat/completions", "stream, astream and their usage")
async def _():
    equal("".join(chunk.text for chunk in chat().stream("hello")), FOX)
    chunks = [chunk async for chunk in achat(stream_usage=True).astream("hello")]
    equal("".join(chunk.text for chunk in chunks), FOX)
    equal(sum(bool(chunk.usage_metadata) for chunk in chunks), 1)


@check("POST /v1/chat/completions", "structured output by each of its three methods")
def _():
    assert isinstance(chat(max_tokens=200).with_structured_output(Order).invoke("hello"), Order)
    assert isinstance(chat(max_tokens=200).with_structured_output(Order, method="function_calling").invoke("hello"), Order)
    # Any object at all may be a long one; the client itself says then that it was cut off.
    with raises(openai.LengthFinishReasonError, "length limit"):
        chat(max_tokens=50).with_structured_output(Order, method="json_mode", include_raw=True).invoke("hello, in JSON")


@check("POST /v1/chat/completions", "a tool's call and its result")
def _():
    model = chat(CALLER_MODEL).bind_tools([get_weather])
    message = model.invoke("hello")
    equal([(call["name"], call["args"]) for call in message.tool_calls], [("get_weather", {"city": "Paris", "days": 2})])
    talk = [SystemMessage("Be brief."), HumanMessage("hello"), message, get_weather.invoke(message.tool_calls[0])]
    assert model.invoke(talk).usage_metadata["input_tokens"] > message.usage_metadata["input_tokens"] + 20
    gathered = None
    for chunk in model.stream("hello"):
        gathered = chunk if gathered is None else gathered + chunk
    equal([(call["name"], call["args"]) for call in gathered.tool_calls], [("get_weather", {"city": "Paris", "days": 2})])


@check("POST /v1/chat/completions", "log-probabilities")
def _():
    entries = chat(logprobs=True, top_logprobs=2).invoke("hello").response_metadata["logprobs"]["content"]
    equal("".join(entry["token"] for entry in entries), FOX)


@check("POST /v1/chat/completions", "limits, seeds, stops and penalties that the class has")
def _():
    model = chat(max_tokens=3, seed=1, top_p=0.9, frequency_penalty=0.0, presence_penalty=0.0, n=1)
    equal(model.invoke("hello").content, "The quick brown")
    equal(chat(stop=[" fox"]).invoke("hello").content, "The quick brown")


@check("POST /v1/chat/completions", "batches, at once")
async def _():
    equal([message.content for message in chat().batch(["hello", "you", "there"])], [FOX] * 3)
    model = achat()
    replies = await asyncio.gather(*(model.ainvoke([HumanMessage("a"), AIMessage("b"), HumanMessage("c")]) for _ in range(4)))
    equal({reply.content for reply in replies}, {FOX})


@check("POST /v1/chat/completions", "its own errors for a missing model and for too long a prompt")
def _():
    with raises(openai.NotFoundError, "nowhere"):
        chat("nowhere").invoke("hello")
    with raises(ContextOverflowError, "2048"):
        chat().invoke("x " * 5000)


@check("POST /v1/responses", "the other API: invoke, stream, structured output and tools")
def _():
    model = chat(use_responses_api=True, max_tokens=200)
    message = model.invoke([SystemMessage("Be brief."), HumanMessage("hello"), AIMessage("yes?"), HumanMessage("hello")])
    equal(message.text, FOX)
    assert message.usage_metadata["output_tokens"] > 0
    equal("".join(chunk.text for chunk in model.stream("hello")), FOX)
    assert isinstance(model.with_structured_output(Order).invoke("hello"), Order)
    caller = chat(CALLER_MODEL, use_responses_api=True).bind_tools([get_weather])
    message = caller.invoke("hello")
    equal([(call["name"], call["args"]) for call in message.tool_calls], [("get_weather", {"city": "Paris", "days": 2})])
    answer = get_weather.invoke(message.tool_calls[0])
    again = caller.invoke([HumanMessage("hello"), message, answer])
    assert again.usage_metadata["input_tokens"] > message.usage_metadata["input_tokens"] + 20
    whole = functools.reduce(lambda one, other: one + other, caller.stream("hello"))
    equal([(call["name"], call["args"]) for call in whole.tool_calls], [("get_weather", {"city": "Paris", "days": 2})])


@check("POST /v1/responses", "the other API: a thought goes back with the conversation")
def _():
    model = chat(THINKER_MODEL, use_responses_api=True)
    message = model.invoke("hello")
    equal(([block["type"] for block in message.content], message.text), (["reasoning", "text"], CONCLUSION))
    equal(model.invoke([HumanMessage("hello"), message, HumanMessage("again")]).text, CONCLUSION)


@check("POST /v1/completions", "OpenAI: invoke, stream, several prompts")
def _():
    model = OpenAI(model=FOX_MODEL, max_tokens=4, temperature=0, **SERVER)
    equal(model.invoke(f"hello{ANSWER}"), "The quick brown fox")
    equal("".join(model.stream(f"hello{ANSWER}")), "The quick brown fox")
    equal(len(model.generate(["hello", "you"]).generations), 2)


@check("POST /v1/embeddings", "OpenAIEmbeddings, of texts")
async def _():
    model = OpenAIEmbeddings(model=EMBEDDING_MODEL, check_embedding_ctx_length=False, **SERVER)
    both = model.embed_documents(["the cat", "a dog"])
    near(sum(number * number for number in both[1]), 1)
    for one, other in zip(model.embed_query("the cat"), both[0], strict=True):
        near(one, other, by=1e-6)
    equal(len(await model.aembed_documents(["the cat"])), 1)


# --- decisions --------------------------------------------------------------------------------------------------------

QUESTIONS = {
    "queue": Choice(instructions="Which queue?", choices={"billing": "payments", "shipping": None, True: "neither"}),
    "urgency": Score(instructions="How urgent?", levels=["low", Level(label="high", description="now")]),
    "money": Predicate(instructions="Is money asked back?"),
}


def decisions(model=TRIAGE_MODEL):
    return OpenAIDecisions(model=model, **SERVER)


@check("POST /v1/decisions", "choice, score and predicate by their names")
def _():
    response = decisions().invoke({"input": DOUBLE_CHARGE, "questions": QUESTIONS})
    equal(list(response.answers), list(QUESTIONS))
    choice, score = response.choices["queue"], response.scores["urgency"]
    equal(list(choice.probabilities), ["billing", "shipping", True])
    sums_to_one(choice.probabilities.values())
    equal(score.legend, {0: "low", 1: "high"})
    near(score.score, score.probabilities[1])
    assert 0 <= response.predicates["money"].probability <= 1
    assert response.usage.input_tokens > 0 and response.usage.output_tokens == 0
    assert response.request_id and TRIAGE_MODEL in response.model


@check("POST /v1/decisions", "messages and structured state")
def _():
    for state in (
        HumanMessage(DOUBLE_CHARGE),
        [HumanMessage([{"type": "text", "text": DOUBLE_CHARGE}]), HumanMessage("Please help.")],
        [SystemMessage("A support desk."), HumanMessage(DOUBLE_CHARGE), AIMessage("One moment.")],
        {"ticket": {"body": DOUBLE_CHARGE, "age": 3, "tags": ["new", None]}},
    ):
        response = decisions().invoke({"input": state, "questions": {"money": QUESTIONS["money"]}})
        assert 0 <= response.predicates["money"].probability <= 1, state


@check("POST /v1/decisions", "ainvoke and batch give the same bits")
async def _():
    request = {"input": DOUBLE_CHARGE, "questions": QUESTIONS}
    alone = decisions().invoke(request).answers
    equal([response.answers for response in decisions().batch([request] * 4)], [alone] * 4)
    responses = await asyncio.gather(*(decisions().ainvoke(request) for _ in range(4)))
    equal([response.answers for response in responses], [alone] * 4)


@check("POST /v1/decisions", "images, a single choice and a missing model are its errors")
def _():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    money = {"money": QUESTIONS["money"]}
    with raises(openai.BadRequestError, "image"):
        decisions().invoke({"input": HumanMessage([picture]), "questions": money})
    with raises(openai.BadRequestError, "questions[0]"):
        decisions().invoke({"input": DOUBLE_CHARGE, "questions": {"q": Choice(instructions="?", choices={"only": None})}})
    with raises(openai.NotFoundError, "nowhere"):
        decisions("nowhere").invoke({"input": DOUBLE_CHARGE, "questions": money})


@check("GET /v1/models", "JSON of the list, by the client inside the class")
def _():
    listed = json.loads(chat().root_client.models.with_raw_response.list().text)
    equal(listed["object"], "list")


if __name__ == "__main__":
    run("langchain-openai", "openai", "langchain-core")
