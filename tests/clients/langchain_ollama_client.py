#!/usr/bin/env python3
"""LangChain's classes for Ollama: ChatOllama, OllamaLLM and OllamaEmbeddings."""

import asyncio
import typing

import ollama
import pydantic
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings, OllamaLLM

from checks import (
    CALLER_MODEL,
    CONCLUSION,
    DOUBLE_CHARGE,
    EMBEDDING_MODEL,
    FOX,
    FOX_MODEL,
    THINKER_MODEL,
    THOUGHT,
    TRIAGE_MODEL,
    URL,
    check,
    equal,
    near,
    raises,
    run,
)


class Order(pydantic.BaseModel):
    """Every text of this form is short, whatever a model would rather say."""

    customer: typing.Annotated[str, pydantic.Field(max_length=6)]
    items: typing.Annotated[int, pydantic.Field(ge=0, le=9)]


class Ticket(pydantic.BaseModel):
    """What the triage model was trained to say."""

    queue: typing.Literal["billing", "shipping", "account access", "technical", "legal", "other"]
    urgency: typing.Annotated[int, pydantic.Field(ge=1, le=3)]
    refund: bool


@tool
def get_weather(city: str, days: int = 1) -> str:
    """Say what the weather will be."""
    return f"{city}: rain in {days} days"


def chat(model=FOX_MODEL, **more):
    return ChatOllama(model=model, base_url=URL, temperature=0, **more)


@check("POST /api/chat", "invoke, with usage and metadata")
def _():
    message = chat().invoke("hello")
    equal((message.content, message.response_metadata["done_reason"]), (FOX, "stop"))
    assert message.usage_metadata["input_tokens"] > 0 and message.usage_metadata["output_tokens"] > 0


@check("POST /api/chat", "stream and astream")
async def _():
    equal("".join(chunk.text for chunk in chat().stream("hello")), FOX)
    equal("".join([chunk.text async for chunk in chat().astream("hello")]), FOX)


@check("POST /api/chat", "all options that the class has")
def _():
    model = chat(num_ctx=1024, num_predict=3, repeat_last_n=32, repeat_penalty=1.0, seed=1, top_k=20, top_p=0.9, keep_alive="1m")
    equal(model.invoke("hello").content, "The quick brown")
    equal(chat().invoke("hello", stop=[" fox"]).content, "The quick brown")


@check("POST /api/chat", "structured output by each of its three methods")
def _():
    order = chat(num_predict=200).with_structured_output(Order).invoke("hello")
    assert isinstance(order, Order), order
    ticket = chat(TRIAGE_MODEL).with_structured_output(Ticket).invoke(DOUBLE_CHARGE)
    equal((ticket.queue, ticket.refund in (True, False)), ("billing", True))
    weather = pydantic.create_model("get_weather", city=(str, ...), days=(int, ...))
    called = chat(CALLER_MODEL).with_structured_output(weather, method="function_calling").invoke("hello")
    equal((called.city, called.days), ("Paris", 2))
    raw = chat(num_predict=50).with_structured_output(Order, method="json_mode", include_raw=True).invoke("hello")
    assert raw["raw"].content.lstrip().startswith("{"), raw


@check("POST /api/chat", "a tool's call and its result")
def _():
    model = chat(CALLER_MODEL).bind_tools([get_weather])
    message = model.invoke("hello")
    equal([(call["name"], call["args"]) for call in message.tool_calls], [("get_weather", {"city": "Paris", "days": 2})])
    result = get_weather.invoke(message.tool_calls[0])
    equal(result.content, "Paris: rain in 2 days")
    talk = [SystemMessage("Be brief."), HumanMessage("hello"), message, result]
    assert model.invoke(talk).usage_metadata["input_tokens"] > message.usage_metadata["input_tokens"] + 20
    equal(sum(len(chunk.tool_calls) for chunk in model.stream("hello")), 1)


@check("POST /api/chat", "reasoning stands apart")
def _():
    message = chat(THINKER_MODEL, reasoning=True).invoke("hello")
    equal((message.content.strip(), message.additional_kwargs["reasoning_content"].strip()), (CONCLUSION, THOUGHT))
    equal(chat(reasoning=False).invoke("hello").content, FOX)


@check("POST /api/chat", "log-probabilities, each once")
def _():
    message = chat(logprobs=True, top_logprobs=2).invoke("hello")
    equal("".join(entry["token"] for entry in message.response_metadata["logprobs"]), FOX)


@check("POST /api/chat", "batches and earlier turns")
async def _():
    equal([message.content for message in chat().batch(["hello", "you", "there"])], [FOX] * 3)
    talk = [SystemMessage("Be brief."), HumanMessage("hello"), AIMessage("yes?"), HumanMessage([{"type": "text", "text": "hello"}])]
    replies = await asyncio.gather(*(chat().ainvoke(talk) for _ in range(4)))
    equal({reply.content for reply in replies}, {FOX})


@check("POST /api/chat", "images and missing models are its ResponseError")
def _():
    picture = {"type": "image_url", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    with raises(ollama.ResponseError, "images", status_code=400):
        chat().invoke([HumanMessage([{"type": "text", "text": "what is this?"}, picture])])
    with raises(ollama.ResponseError, "nowhere", status_code=404):
        chat("nowhere").invoke("hello")


@check("GET /api/tags", "the model is looked up when the class is made")
def _():
    chat(validate_model_on_init=True)
    with raises(ValueError, "nowhere"):
        chat("nowhere", validate_model_on_init=True)


@check("POST /api/generate", "OllamaLLM: invoke, stream and an answer's details")
def _():
    model = OllamaLLM(model=FOX_MODEL, base_url=URL, temperature=0)
    equal(model.invoke("hello"), FOX)
    equal("".join(model.stream("hello")), FOX)
    equal(model.generate(["hello"]).generations[0][0].generation_info["done_reason"], "stop")
    equal(OllamaLLM(model=FOX_MODEL, base_url=URL, temperature=0, num_predict=2, stop=["zebra"]).invoke("hello"), "The quick")


@check("POST /api/embed", "OllamaEmbeddings, with options that say nothing")
async def _():
    model = OllamaEmbeddings(model=EMBEDDING_MODEL, base_url=URL)
    both = model.embed_documents(["the cat", "a dog"])
    for number, other in zip(model.embed_query("the cat"), both[0]):
        near(number, other, by=1e-5)
    near(sum(number * number for number in both[1]), 1)
    equal(await model.aembed_documents(["the cat", "a dog"]), both)


@check("POST /api/chat", "a tool message finds its call by order")
def _():
    calls = [{"name": "get_weather", "args": {"city": city}, "id": city} for city in ("Paris", "Rome")]
    talk = [HumanMessage("hello"), AIMessage("", tool_calls=calls), ToolMessage("rain", tool_call_id="Paris"), ToolMessage("sun", tool_call_id="Rome")]
    equal(chat().invoke(talk).content, FOX)


if __name__ == "__main__":
    run("langchain-ollama", "langchain-core")
