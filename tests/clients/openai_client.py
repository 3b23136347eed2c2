#!/usr/bin/env python3
"""OpenAI's Python client, synchronous and asynchronous, against OpenAI's API as slm serves it."""

import asyncio
import json
import time
import typing

import openai
import pydantic
from openai.lib.decisions_tool_runner import DecisionsToolRunner
from openai.types import responses

from checks import (
    ANSWER,
    CALLER_MODEL,
    CONCLUSION,
    DOUBLE_CHARGE,
    EMBEDDING_MODEL,
    ENDLESS_MODEL,
    FOX,
    FOX_MODEL,
    LABEL_MODEL,
    THINKER_MODEL,
    THOUGHT,
    TRIAGE_MODEL,
    URL,
    check,
    equal,
    is_label,
    near,
    raises,
    run,
    sums_to_one,
)

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="any", max_retries=0)
aclient_options = {"base_url": f"{URL}/v1", "api_key": "any", "max_retries": 0}
HELLO = [{"role": "user", "content": "hello"}]
FOX_CHAT = {"model": FOX_MODEL, "messages": HELLO, "temperature": 0}
IMAGE = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Say what the weather will be.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 0, "maximum": 9}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}


class Weather(pydantic.BaseModel):
    """What `get_weather` is called with."""

    city: str
    days: int


class Order(pydantic.BaseModel):
    """Every text of this form is short, whatever a model would rather say."""

    customer: typing.Annotated[str, pydantic.Field(max_length=6)]
    items: typing.Annotated[int, pydantic.Field(ge=0, le=9)]
    queue: typing.Literal["billing", "shipping", "other"]


# --- chat/completions -------------------------------------------------------------------------------------------------


@check("POST /v1/chat/completions", "one object with its usage")
def _():
    reply = client.chat.completions.create(**FOX_CHAT)
    equal((reply.object, reply.model), ("chat.completion", FOX_MODEL))
    choice = reply.choices[0]
    equal((choice.index, choice.message.role, choice.message.content, choice.finish_reason), (0, "assistant", FOX, "stop"))
    equal((choice.message.tool_calls, choice.message.refusal, choice.logprobs), (None, None, None))
    assert reply.usage.prompt_tokens > 0 and reply.usage.completion_tokens > 0, reply.usage
    equal(reply.usage.total_tokens, reply.usage.prompt_tokens + reply.usage.completion_tokens)
    assert reply.id and abs(reply.created - time.time()) < 3600, reply
    assert reply._request_id, "there is no x-request-id"


@check("POST /v1/chat/completions", "a stream of chunks that belong together")
def _():
    chunks = list(client.chat.completions.create(**FOX_CHAT, stream=True))
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks), FOX)
    equal([chunk.choices[0].delta.role for chunk in chunks], ["assistant"] + [None] * (len(chunks) - 1))
    equal([chunk.choices[0].finish_reason for chunk in chunks], [None] * (len(chunks) - 1) + ["stop"])
    equal(len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}), 1)
    equal({chunk.usage for chunk in chunks}, {None})


@check("POST /v1/chat/completions", "a usage chunk where it is asked for")
def _():
    chunks = list(client.chat.completions.create(**FOX_CHAT, stream=True, stream_options={"include_usage": True}))
    equal(chunks[-1].choices, [])
    equal(chunks[-1].usage.completion_tokens, client.chat.completions.create(**FOX_CHAT).usage.completion_tokens)
    equal({chunk.usage for chunk in chunks[:-1]}, {None})


@check("POST /v1/chat/completions", "the client's own stream helper")
def _():
    with client.chat.completions.stream(**FOX_CHAT) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds, kinds
    equal((final.choices[0].message.content, final.choices[0].message.role), (FOX, "assistant"))


@check("POST /v1/chat/completions", "both names of the limit, and stop strings")
def _():
    for limit in ("max_tokens", "max_completion_tokens"):
        choice = client.chat.completions.create(**FOX_CHAT, **{limit: 3}).choices[0]
        equal((choice.message.content, choice.finish_reason), ("The quick brown", "length"))
    for stop in (" fox", ["zebra", " fox"]):
        choice = client.chat.completions.create(**FOX_CHAT, stop=stop).choices[0]
        equal((choice.message.content, choice.finish_reason), ("The quick brown", "stop"))


@check("POST /v1/chat/completions", "developer, system and earlier turns, contents as parts")
def _():
    talk = [
        {"role": "developer", "content": "be brief"},
        {"role": "system", "content": [{"type": "text", "text": "be polite"}]},
        {"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]},
        {"role": "assistant", "content": "yes?"},
        *HELLO,
    ]
    short = client.chat.completions.create(**FOX_CHAT).usage.prompt_tokens
    assert client.chat.completions.create(**{**FOX_CHAT, "messages": talk}).usage.prompt_tokens > short + 30


@check("POST /v1/chat/completions", "an object of a pydantic class")
def _():
    reply = client.chat.completions.parse(**FOX_CHAT, response_format=Order, max_tokens=200)
    assert isinstance(reply.choices[0].message.parsed, Order), reply


@check("POST /v1/chat/completions", "a stream of a pydantic class")
def _():
    with client.chat.completions.stream(**FOX_CHAT, response_format=Order, max_tokens=200) as stream:
        final = stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Order), final


@check("POST /v1/chat/completions", "a label of an enum, and `json_object`")
def _():
    form = {"type": "json_schema", "json_schema": {"name": "queue", "schema": {"enum": ["billing", "shipping", "other"]}}}
    messages = [{"role": "user", "content": DOUBLE_CHARGE}]
    reply = client.chat.completions.create(model=TRIAGE_MODEL, messages=messages, response_format=form)
    equal(json.loads(reply.choices[0].message.content), "billing")
    reply = client.chat.completions.create(**FOX_CHAT, response_format={"type": "json_object"}, max_tokens=50)
    assert reply.choices[0].message.content.lstrip().startswith("{"), reply
    equal(client.chat.completions.create(**FOX_CHAT, response_format={"type": "text"}).choices[0].message.content, FOX)


@check("POST /v1/chat/completions", "the model's own form and its own temperature")
def _():
    messages = [{"role": "user", "content": DOUBLE_CHARGE}]
    reply = client.chat.completions.create(model=TRIAGE_MODEL, messages=messages)
    equal(json.loads(reply.choices[0].message.content)["queue"], "billing")


@check("POST /v1/chat/completions", "a label of the model's own list is bare, and JSON where JSON is asked for")
def _():
    asked = {"model": LABEL_MODEL, "messages": [{"role": "user", "content": DOUBLE_CHARGE}]}
    choice = client.chat.completions.create(**asked).choices[0]
    is_label(choice.message.content, choice.slm)
    equal(choice.model_extra["slm"], choice.slm)
    last = [chunk for chunk in client.chat.completions.create(**asked, stream=True) if chunk.choices][-1]
    equal(last.choices[0].slm["fields"], choice.slm["fields"])
    quoted = client.chat.completions.create(**asked, response_format={"type": "json_object"}).choices[0]
    equal(json.loads(quoted.message.content), choice.message.content)


@check("POST /v1/chat/completions", "a tool's call, whole and streamed")
def _():
    asked = {**FOX_CHAT, "model": CALLER_MODEL, "tools": [WEATHER]}
    choice = client.chat.completions.create(**asked).choices[0]
    call = choice.message.tool_calls[0]
    equal((choice.finish_reason, call.type, call.function.name), ("tool_calls", "function", "get_weather"))
    equal((json.loads(call.function.arguments), choice.message.content), ({"city": "Paris", "days": 2}, None))
    assert call.id
    with client.chat.completions.stream(**asked) as stream:
        message = stream.get_final_completion().choices[0].message
    equal([call.function.name for call in message.tool_calls], ["get_weather"])
    equal(json.loads(message.tool_calls[0].function.arguments), {"city": "Paris", "days": 2})


@check("POST /v1/chat/completions", "a tool's result goes back by its id")
def _():
    asked = {**FOX_CHAT, "model": CALLER_MODEL, "tools": [WEATHER]}
    reply = client.chat.completions.create(**asked)
    talk = [*HELLO, reply.choices[0].message, {"role": "tool", "tool_call_id": reply.choices[0].message.tool_calls[0].id, "content": "rain"}]
    again = client.chat.completions.create(**{**asked, "messages": talk})
    assert again.usage.prompt_tokens > reply.usage.prompt_tokens + 20, again.usage


@check("POST /v1/chat/completions", "a call that is required, of a model that would rather talk")
def _():
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        reply = client.chat.completions.create(**FOX_CHAT, tools=[WEATHER], tool_choice=choice, max_tokens=200)
        call = reply.choices[0].message.tool_calls[0]
        equal((call.function.name, sorted(json.loads(call.function.arguments))), ("get_weather", ["city", "days"]))
    reply = client.chat.completions.create(**FOX_CHAT, tools=[WEATHER], tool_choice="none")
    equal((reply.choices[0].message.content, reply.choices[0].message.tool_calls), (FOX, None))


@check("POST /v1/chat/completions", "log-probabilities of tokens and of their rivals")
def _():
    entries = client.chat.completions.create(**FOX_CHAT, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    equal("".join(entry.token for entry in entries), FOX)
    equal(bytes(byte for entry in entries for byte in entry.bytes).decode(), FOX)
    for entry in entries:
        near(entry.logprob, 0, by=1e-2)
        equal((len(entry.top_logprobs), entry.top_logprobs[0].token), (3, entry.token))
    chunks = client.chat.completions.create(**FOX_CHAT, logprobs=True, stream=True)
    streamed = [entry for chunk in chunks if (said := chunk.choices[0].logprobs) for entry in said.content]
    equal("".join(entry.token for entry in streamed), FOX)


@check("POST /v1/chat/completions", "a bias moves a token out of reach")
def _():
    # The token of `The`: behind the controls and the bytes.
    reply = client.chat.completions.create(**FOX_CHAT, logit_bias={"263": -100}, max_tokens=5)
    assert not reply.choices[0].message.content.startswith("The"), reply
    for more in ({"model": TRIAGE_MODEL}, {"logit_bias": {"The": -100}}, {"logit_bias": {"263": 101}}, {"logit_bias": {"9999": 1}}):
        with raises(openai.BadRequestError, "9999" if "9999" in str(more) else "logit_bias"):
            client.chat.completions.create(**{**FOX_CHAT, "logit_bias": {"263": 1}, **more})


@check("POST /v1/chat/completions", "one seed, one text")
def _():
    asked = {**FOX_CHAT, "temperature": 2.0, "seed": 7, "top_p": 1.0, "max_tokens": 8}
    texts = {client.chat.completions.create(**asked).choices[0].message.content for _ in range(3)}
    equal(len(texts), 1)


@check("POST /v1/chat/completions", "leaving a stream in its middle ends the work")
def _():
    started = time.monotonic()
    with client.chat.completions.create(**{**FOX_CHAT, "model": ENDLESS_MODEL}, stream=True, max_tokens=100_000) as stream:
        for _ in range(5):
            equal(next(stream).choices[0].finish_reason, None)
    equal(client.chat.completions.create(**FOX_CHAT).choices[0].message.content, FOX)
    assert time.monotonic() - started < 20, "the work went on"


@check("POST /v1/chat/completions", "eight at once, by the asynchronous client")
async def _():
    async with openai.AsyncOpenAI(**aclient_options) as aclient:
        replies = await asyncio.gather(*(aclient.chat.completions.create(**FOX_CHAT) for _ in range(8)))
        equal({reply.choices[0].message.content for reply in replies}, {FOX})
        stream = await aclient.chat.completions.create(**FOX_CHAT, stream=True)
        equal("".join([chunk.choices[0].delta.content or "" async for chunk in stream]), FOX)


@check("POST /v1/chat/completions", "a missing model is a NotFoundError, streamed or not")
def _():
    for stream in (False, True):
        with raises(openai.NotFoundError, "nowhere", status_code=404, code="model_not_found"):
            client.chat.completions.create(**{**FOX_CHAT, "model": "nowhere"}, stream=stream)


@check("POST /v1/chat/completions", "a prompt beyond the context is refused with both numbers")
def _():
    with raises(openai.BadRequestError, "2048", code="context_length_exceeded"):
        client.chat.completions.create(model=FOX_MODEL, messages=[{"role": "user", "content": "x " * 5000}])


@check("POST /v1/chat/completions", "an answer's message goes back as the client dumps it, thought and parsed object included")
def _():
    said = client.chat.completions.create(**{**FOX_CHAT, "model": THINKER_MODEL}).choices[0].message
    equal(said.reasoning_content, THOUGHT)
    asked = {**FOX_CHAT, "model": CALLER_MODEL, "tools": [openai.pydantic_function_tool(Weather, name="get_weather")]}
    called = client.chat.completions.parse(**asked).choices[0].message
    assert called.tool_calls[0].function.parsed_arguments, called
    result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "rain"}
    parsed = client.chat.completions.parse(**FOX_CHAT, response_format=Order, max_tokens=200).choices[0].message
    for messages in ([said], [called, result], [parsed]):
        for dumped in (messages, [message if isinstance(message, dict) else message.model_dump() for message in messages]):
            talk = [*HELLO, *dumped, {"role": "user", "content": "again"}]
            equal(client.chat.completions.create(**{**FOX_CHAT, "messages": talk}).choices[0].message.content, FOX)
    # The name by which other servers tell a thought.
    other = {"role": "assistant", "content": CONCLUSION, "reasoning": THOUGHT, "refusal": None, "annotations": [], "audio": None}
    equal(client.chat.completions.create(**{**FOX_CHAT, "messages": [*HELLO, other, *HELLO]}).choices[0].message.content, FOX)


@check("POST /v1/chat/completions", "what tunes what is not here is taken, and told in a header")
def _():
    raw = client.chat.completions.with_raw_response.create(
        **FOX_CHAT,
        store=True,
        metadata={"a": "b"},
        service_tier="priority",
        prediction={"type": "content", "content": "x"},
        web_search_options={},
        verbosity="low",
        reasoning_effort="high",
        seed=2**63 - 1,
        extra_body={"top_k": 40, "min_p": 0.05, "repetition_penalty": 1.0, "chat_template_kwargs": {"enable_thinking": False}},
    )
    equal(raw.parse().choices[0].message.content, FOX)
    for name in ("metadata", "prediction", "service_tier", "store", "verbosity", "web_search_options"):
        assert f"{name} (" in raw.headers["warning"], raw.headers["warning"]
    assert "warning" not in client.chat.completions.with_raw_response.create(**FOX_CHAT).headers


@check("POST /v1/chat/completions", "what is not supported is refused by its name")
def _():
    for name, more in {
        "modalities": {"modalities": ["text", "audio"]},
        "chat_template_kwargs.bos_token": {"extra_body": {"chat_template_kwargs": {"bos_token": "x"}}},
        "functions": {"functions": [{"name": "f"}]},
        "tempreature": {"extra_body": {"tempreature": 0}},
        '`temperature` is "hot", a text; give a number': {"temperature": "hot"},
        "top_logprobs": {"logprobs": True, "top_logprobs": 21},
        "messages": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]}]},
        "response_format": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}},
        "tool_choice": {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "unknown"}}},
    }.items():
        with raises(openai.BadRequestError, name, type="invalid_request_error"):
            client.chat.completions.create(**{**FOX_CHAT, **more})


# --- completions ------------------------------------------------------------------------------------------------------


FOX_PROMPT = {"model": FOX_MODEL, "prompt": f"hello{ANSWER}", "temperature": 0}


@check("POST /v1/completions", "one object, a stream, several prompts")
def _():
    reply = client.completions.create(**FOX_PROMPT, max_tokens=4)
    equal((reply.object, reply.choices[0].text, reply.choices[0].finish_reason), ("text_completion", "The quick brown fox", "length"))
    equal(reply.usage.completion_tokens, 4)
    chunks = list(client.completions.create(**FOX_PROMPT, max_tokens=4, stream=True, stream_options={"include_usage": True}))
    equal("".join(choice.text for chunk in chunks for choice in chunk.choices), reply.choices[0].text)
    equal([choice.finish_reason for chunk in chunks for choice in chunk.choices][-2:], [None, "length"])
    equal((chunks[-1].choices, chunks[-1].usage.total_tokens), ([], reply.usage.total_tokens))
    whole = client.completions.create(**FOX_PROMPT, max_tokens=100).choices[0]
    equal((whole.text, whole.finish_reason), (FOX, "stop"))
    equal(client.completions.create(**FOX_PROMPT).usage.completion_tokens, 11)


@check("POST /v1/completions", "n answers to each of several prompts, one after the other")
def _():
    # Behind a text of which nobody says where the answer begins, this model ends.
    prompts = [f"hello{ANSWER}", "hello", f"you{ANSWER}"]
    asked = {**FOX_PROMPT, "prompt": prompts, "n": 2, "best_of": 2, "max_tokens": 2}
    reply = client.completions.create(**asked)
    equal([choice.index for choice in reply.choices], list(range(6)))
    equal([choice.text for choice in reply.choices], ["The quick"] * 2 + [""] * 2 + ["The quick"] * 2)
    alone = [client.completions.create(**{**asked, "prompt": prompt, "n": 1, "best_of": 1}).usage for prompt in prompts]
    equal(reply.usage.prompt_tokens, sum(usage.prompt_tokens for usage in alone))
    equal(reply.usage.completion_tokens, 2 * sum(usage.completion_tokens for usage in alone))
    parts = [choice for chunk in client.completions.create(**asked, stream=True) for choice in chunk.choices]
    joined = ["".join(part.text for part in parts if part.index == index) for index in range(6)]
    equal(joined, [choice.text for choice in reply.choices])


@check("POST /v1/completions", "tokens as a prompt, and an echo of a text")
def _():
    # The token of the answer's beginning, and that of `The`.
    for prompt, text in (([5], "The quick"), ([5, 263], " quick brown"), ([[5]], "The quick")):
        equal(client.completions.create(**{**FOX_PROMPT, "prompt": prompt}, max_tokens=2).choices[0].text, text)
    with raises(openai.BadRequestError, "100000"):
        client.completions.create(**{**FOX_PROMPT, "prompt": [100_000]})
    asked = {**FOX_PROMPT, "max_tokens": 2, "echo": True}
    equal(client.completions.create(**asked).choices[0].text, f"hello{ANSWER}The quick")
    chunks = client.completions.create(**asked, stream=True)
    equal("".join(choice.text for chunk in chunks for choice in chunk.choices), f"hello{ANSWER}The quick")


@check("POST /v1/completions", "log-probabilities in this endpoint's own form")
def _():
    said = client.completions.create(**FOX_PROMPT, max_tokens=3, logprobs=2).choices[0]
    equal((len(said.logprobs.tokens), len(said.logprobs.token_logprobs), len(said.logprobs.top_logprobs)), (3, 3, 3))
    equal("".join(said.logprobs.tokens), said.text)
    equal({len(rivals) for rivals in said.logprobs.top_logprobs}, {2})
    equal(said.logprobs.text_offset, [0, 3, 9])
    chunks = client.completions.create(**FOX_PROMPT, max_tokens=3, logprobs=0, stream=True)
    streamed = [part.logprobs for chunk in chunks for part in chunk.choices if part.logprobs]
    equal([token for part in streamed for token in part.tokens], said.logprobs.tokens)
    equal([offset for part in streamed for offset in part.text_offset], said.logprobs.text_offset)


@check("POST /v1/completions", "stop strings, a bias and a seed")
def _():
    stopped = client.completions.create(**FOX_PROMPT, stop=[" brown"]).choices[0]
    equal((stopped.text, stopped.finish_reason), ("The quick", "stop"))
    biased = client.completions.create(**FOX_PROMPT, logit_bias={"263": -100}, max_tokens=5).choices[0]
    assert not biased.text.startswith("The"), biased
    asked = {**FOX_PROMPT, "temperature": 2.0, "seed": 7, "max_tokens": 8}
    equal(len({client.completions.create(**asked).choices[0].text for _ in range(3)}), 1)


@check("POST /v1/completions", "what is not supported is refused by its name")
def _():
    for name, more in {"suffix": {"suffix": "end"}, "best_of": {"best_of": 3}, "logprobs": {"logprobs": 6}}.items():
        with raises(openai.BadRequestError, name):
            client.completions.create(model=FOX_MODEL, prompt="hello", max_tokens=1, **more)
    with raises(openai.BadRequestError, "2048", code="context_length_exceeded"):
        client.completions.create(model=FOX_MODEL, prompt="x " * 5000, stream=True)
    with raises(openai.NotFoundError, "nowhere"):
        client.completions.create(model="nowhere", prompt="hello")


# --- embeddings -------------------------------------------------------------------------------------------------------


@check("POST /v1/embeddings", "base64 and numbers are the same vectors")
def _():
    coded = client.embeddings.create(model=EMBEDDING_MODEL, input=["the cat", "a dog"])
    plain = client.embeddings.create(model=EMBEDDING_MODEL, input=["the cat", "a dog"], encoding_format="float")
    equal([item.index for item in plain.data], [0, 1])
    for one, other in zip(coded.data, plain.data):
        for a, b in zip(one.embedding, other.embedding, strict=True):
            near(a, b, by=1e-6)
        near(sum(number * number for number in other.embedding), 1)
    assert plain.usage.prompt_tokens > 0 and plain.usage.total_tokens == plain.usage.prompt_tokens


@check("POST /v1/embeddings", "one text, fewer dimensions")
def _():
    equal(len(client.embeddings.create(model=EMBEDDING_MODEL, input="the cat", dimensions=8).data[0].embedding), 8)


@check("POST /v1/embeddings", "token numbers, too long a text and a missing model are refused")
def _():
    with raises(openai.BadRequestError, "input"):
        client.embeddings.create(model=EMBEDDING_MODEL, input=[[1, 2, 3]])
    with raises(openai.BadRequestError, code="context_length_exceeded"):
        client.embeddings.create(model=EMBEDDING_MODEL, input="the cat " * 2000)
    with raises(openai.NotFoundError, "nowhere"):
        client.embeddings.create(model="nowhere", input="the cat")


# --- models -----------------------------------------------------------------------------------------------------------


@check("GET /v1/models", "all of them")
def _():
    models = {model.id: model for model in client.models.list()}
    assert f"{FOX_MODEL}:latest" in models or FOX_MODEL in models, list(models)
    for model in models.values():
        equal(model.object, "model")
        assert model.created >= 0 and model.owned_by, model


@check("GET /v1/models/{model}", "one, by a name with a colon; a missing one is a NotFoundError")
def _():
    equal(client.models.retrieve(f"{FOX_MODEL}:latest").object, "model")
    with raises(openai.NotFoundError, "nowhere"):
        client.models.retrieve("nowhere")


# --- responses --------------------------------------------------------------------------------------------------------


@check("POST /v1/responses", "one object with its usage")
def _():
    reply = client.responses.create(model=FOX_MODEL, input="hello", temperature=0)
    equal((reply.object, reply.status, reply.output_text, reply.error), ("response", "completed", FOX, None))
    equal([item.type for item in reply.output], ["message"])
    equal(reply.usage.total_tokens, reply.usage.input_tokens + reply.usage.output_tokens)
    assert reply.usage.input_tokens_details.cached_tokens >= 0 and reply.usage.output_tokens_details.reasoning_tokens == 0


def valid(kind, found):
    """It is what the client's own type says, which the client does not look at by itself."""
    pydantic.TypeAdapter(kind).validate_python(found.to_dict())


@check("POST /v1/responses", "every answer and every event is of the client's own types")
def _():
    tool = {"type": "function", **WEATHER["function"]}
    form = {"type": "json_schema", "name": "order", "strict": True, "schema": Order.model_json_schema()}
    for more in (
        {"instructions": "be polite", "metadata": {"a": "b"}, "top_p": 0.5, "max_output_tokens": 100, "user": "me"},
        {"text": {"format": form, "verbosity": "medium"}, "top_logprobs": 1, "include": ["message.output_text.logprobs"]},
        {"model": THINKER_MODEL, "reasoning": {"effort": "low", "summary": "auto"}},
        {"model": CALLER_MODEL, "tools": [tool], "tool_choice": "auto", "parallel_tool_calls": False},
        {"tools": [tool], "tool_choice": {"type": "function", "name": "get_weather"}},
        {"max_output_tokens": 3, "store": False, "truncation": "disabled", "service_tier": "auto"},
    ):
        asked = {"model": FOX_MODEL, "input": "hello", "temperature": 0, **more}
        reply = client.responses.create(**asked)
        valid(responses.Response, reply)
        for event in (events := list(client.responses.create(**asked, stream=True))):
            valid(responses.ResponseStreamEvent, event)
        equal([item.type for item in events[-1].response.output], [item.type for item in reply.output])
        equal(events[-1].response.usage.output_tokens, reply.usage.output_tokens)
        for name in more.keys() & {"instructions", "metadata", "top_p", "max_output_tokens", "tool_choice", "parallel_tool_calls"}:
            equal(reply.to_dict()[name], more[name])


@check("POST /v1/responses", "instructions and items as input")
def _():
    items = [
        {"role": "developer", "content": "be brief"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes?", "annotations": []}]},
        {"role": "user", "content": "hello"},
    ]
    short = client.responses.create(model=FOX_MODEL, input="hello", temperature=0)
    reply = client.responses.create(model=FOX_MODEL, instructions="be polite", input=items, temperature=0)
    equal(reply.output_text, FOX)
    assert reply.usage.input_tokens > short.usage.input_tokens + 30, reply.usage


@check("POST /v1/responses", "the events of a stream, in their order")
def _():
    events = list(client.responses.create(model=FOX_MODEL, input="hello", temperature=0, stream=True))
    equal([event.sequence_number for event in events], list(range(len(events))))
    kinds = [event.type.removeprefix("response.") for event in events]
    opening = ["created", "in_progress", "output_item.added", "content_part.added"]
    closing = ["output_text.done", "content_part.done", "output_item.done", "completed"]
    equal((kinds[:4], kinds[-4:]), (opening, closing))
    equal(set(kinds[4:-4]), {"output_text.delta"})
    equal("".join(event.delta for event in events[4:-4]), FOX)
    equal(events[-1].response.output_text, FOX)


@check("POST /v1/responses", "the client's own stream helper, with a pydantic class")
def _():
    asked = {"model": FOX_MODEL, "input": "hello", "temperature": 0, "max_output_tokens": 200}
    with client.responses.stream(**asked, text_format=Order) as stream:
        for _event in stream:
            pass
        assert isinstance(stream.get_final_response().output_parsed, Order)
    assert isinstance(client.responses.parse(**asked, text_format=Order).output_parsed, Order)


@check("POST /v1/responses", "a label of an enum with its probabilities, and `json_object`")
def _():
    form = {"type": "json_schema", "name": "queue", "schema": {"enum": ["billing", "shipping", "other"]}}
    reply = client.responses.create(model=TRIAGE_MODEL, input=DOUBLE_CHARGE, text={"format": form})
    equal(json.loads(reply.output_text), "billing")
    sums_to_one(said["probability"] for said in reply.slm["fields"][0]["probabilities"])
    asked = {"model": FOX_MODEL, "input": "hello", "temperature": 0, "max_output_tokens": 50}
    assert client.responses.create(**asked, text={"format": {"type": "json_object"}}).output_text.lstrip().startswith("{")


@check("POST /v1/responses", "a label of the model's own list is bare, and JSON where JSON is asked for")
def _():
    asked = {"model": LABEL_MODEL, "input": DOUBLE_CHARGE}
    reply = client.responses.create(**asked)
    is_label(reply.output_text, reply.slm)
    with client.responses.stream(**asked) as stream:
        equal(stream.get_final_response().slm["fields"], reply.slm["fields"])
    quoted = client.responses.create(**asked, text={"format": {"type": "json_object"}})
    equal(json.loads(quoted.output_text), reply.output_text)


@check("POST /v1/responses", "log-probabilities of tokens and of their rivals, whole and streamed")
def _():
    asked = {"model": FOX_MODEL, "input": "hello", "temperature": 0, "include": ["message.output_text.logprobs"]}
    entries = client.responses.create(**asked, top_logprobs=3).output[0].content[0].logprobs
    equal("".join(entry.token for entry in entries), FOX)
    for entry in entries:
        near(entry.logprob, 0, by=1e-2)
        equal((len(entry.top_logprobs), entry.top_logprobs[0].token), (3, entry.token))
    events = list(client.responses.create(**asked, stream=True))
    deltas = [entry for event in events if event.type == "response.output_text.delta" for entry in event.logprobs]
    done = next(event for event in events if event.type == "response.output_text.done")
    equal(("".join(entry.token for entry in deltas), "".join(entry.token for entry in done.logprobs)), (FOX, FOX))
    equal(client.responses.create(model=FOX_MODEL, input="hello", temperature=0).output[0].content[0].logprobs, [])


@check("POST /v1/responses", "what a model thinks is an item of its own, and goes back")
def _():
    asked = {"model": THINKER_MODEL, "temperature": 0}
    reply = client.responses.create(**asked, input="hello")
    equal([item.type for item in reply.output], ["reasoning", "message"])
    equal((reply.output[0].content[0].text, reply.output[0].summary, reply.output_text), (THOUGHT, [], CONCLUSION))
    events = list(client.responses.create(**asked, input="hello", stream=True))
    thought = [event.delta for event in events if event.type == "response.reasoning_text.delta"]
    said = [event.delta for event in events if event.type == "response.output_text.delta"]
    equal(("".join(thought), "".join(said)), (THOUGHT, CONCLUSION))
    talk = [{"role": "user", "content": "hello"}, *reply.output, {"role": "user", "content": "again"}]
    again = client.responses.create(**asked, input=talk, include=["reasoning.encrypted_content"])
    equal(again.output_text, CONCLUSION)
    assert again.usage.input_tokens > reply.usage.input_tokens + 10, again.usage


@check("POST /v1/responses", "a call that is required, of a model that would rather talk")
def _():
    tool = {"type": "function", **WEATHER["function"]}
    asked = {"model": FOX_MODEL, "input": "hello", "temperature": 0, "tools": [tool]}
    for choice in ("required", {"type": "function", "name": "get_weather"}):
        (call,) = client.responses.create(**asked, tool_choice=choice, max_output_tokens=200).output
        equal((call.type, call.name, sorted(json.loads(call.arguments))), ("function_call", "get_weather", ["city", "days"]))
    equal(client.responses.create(**asked, tool_choice="none").output_text, FOX)


@check("POST /v1/responses", "leaving a stream in its middle ends the work")
def _():
    started = time.monotonic()
    with client.responses.create(model=ENDLESS_MODEL, input="hello", stream=True, max_output_tokens=100_000) as stream:
        for _ in range(9):
            next(stream)
    equal(client.responses.create(model=FOX_MODEL, input="hello", temperature=0).output_text, FOX)
    assert time.monotonic() - started < 20, "the work went on"


@check("POST /v1/responses", "eight at once, by the asynchronous client")
async def _():
    asked = {"model": FOX_MODEL, "input": "hello", "temperature": 0}
    async with openai.AsyncOpenAI(**aclient_options) as aclient:
        replies = await asyncio.gather(*(aclient.responses.create(**asked) for _ in range(8)))
        equal({reply.output_text for reply in replies}, {FOX})
        async with aclient.responses.stream(**asked) as stream:
            equal((await stream.get_final_response()).output_text, FOX)


@check("POST /v1/responses", "a prompt beyond the context is refused with both numbers")
def _():
    for stream in (False, True):
        with raises(openai.BadRequestError, "2048", code="context_length_exceeded"):
            client.responses.create(model=FOX_MODEL, input="x " * 5000, stream=stream)


@check("POST /v1/responses", "a limit makes it incomplete")
def _():
    reply = client.responses.create(model=FOX_MODEL, input="hello", temperature=0, max_output_tokens=3)
    equal((reply.status, reply.incomplete_details.reason, reply.output_text), ("incomplete", "max_output_tokens", "The quick brown"))
    events = list(client.responses.create(model=FOX_MODEL, input="hello", temperature=0, max_output_tokens=3, stream=True))
    equal((events[-1].type, events[-1].response.status), ("response.incomplete", "incomplete"))


@check("POST /v1/responses", "a tool's call, whole and streamed, and its result")
def _():
    tool = {"type": "function", "strict": True, **WEATHER["function"]}
    asked = {"model": CALLER_MODEL, "temperature": 0, "tools": [tool]}
    reply = client.responses.create(**asked, input="hello")
    call = next(item for item in reply.output if item.type == "function_call")
    equal((call.name, json.loads(call.arguments)), ("get_weather", {"city": "Paris", "days": 2}))
    with client.responses.stream(**asked, input="hello") as stream:
        events = list(stream)
    pieces = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    equal(json.loads(pieces), {"city": "Paris", "days": 2})
    talk = [{"role": "user", "content": "hello"}, call, {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
    assert client.responses.create(**asked, input=talk).usage.input_tokens > reply.usage.input_tokens + 20


@check("POST /v1/responses", "an answer's items go back as the client dumps them")
def _():
    tool = {"type": "function", **WEATHER["function"]}
    for model, more in ((THINKER_MODEL, {}), (CALLER_MODEL, {"tools": [tool]})):
        output = client.responses.create(model=model, input="hello", temperature=0, **more).output
        answers = [{"type": "function_call_output", "call_id": item.call_id, "output": "rain"} for item in output if item.type == "function_call"]
        for items in (output, [item.model_dump() for item in output]):
            talk = [*HELLO, *items, *answers, {"role": "user", "content": "again"}]
            equal(client.responses.create(model=FOX_MODEL, input=talk, temperature=0).output_text, FOX)


@check("POST /v1/responses", "what coding tools send is taken, and told in a header")
def _():
    raw = client.responses.with_raw_response.create(
        model=FOX_MODEL,
        input="hello",
        temperature=0,
        store=True,
        truncation="auto",
        service_tier="priority",
        prompt_cache_key="k",
        safety_identifier="s",
        include=["reasoning.encrypted_content", "web_search_call.action.sources"],
        reasoning={"effort": "medium", "summary": "detailed"},
        text={"verbosity": "low"},
        tools=[{"type": "web_search"}, {"type": "custom", "name": "apply_patch"}, {"type": "function", **WEATHER["function"]}],
        extra_body={"client_metadata": {"a": "b"}, "prompt_cache_retention": "24h"},
    )
    reply = raw.parse()
    equal((reply.output_text, [tool.name for tool in reply.tools]), (FOX, ["get_weather"]))
    for name in ("client_metadata", "include", "reasoning.effort", "reasoning.summary", "service_tier", "store", "text.verbosity", "tools[] custom", "tools[] web_search", "truncation"):
        assert f"{name} (" in raw.headers["warning"], raw.headers["warning"]


@check("POST /v1/responses", "what is not supported is refused by its name")
def _():
    image = [{"role": "user", "content": [{"type": "input_image", "image_url": IMAGE, "detail": "auto"}]}]
    for name, more in {
        "previous_response_id": {"previous_response_id": "resp_1"},
        "background": {"background": True},
        "conversation": {"conversation": "conv_1"},
        "tools": {"tools": [{"type": "guess"}]},
        "tool_choice": {"tool_choice": {"type": "file_search"}},
        "input": {"input": image},
        "include": {"include": ["guess.results"]},
        "prompt": {"prompt": {"id": "pmpt_1"}},
        "temperature": {"temperature": "hot"},
        "tempreature": {"extra_body": {"tempreature": 0}},
    }.items():
        with raises(openai.BadRequestError, name):
            client.responses.create(**{"model": FOX_MODEL, "input": "hello", **more})
    with raises(openai.NotFoundError, "nowhere"):
        client.responses.create(model="nowhere", input="hello", stream=True)


# --- decisions --------------------------------------------------------------------------------------------------------

PREDICATE = {"type": "predicate", "name": "money", "instructions": "The customer asks for money back."}
CHOICE = {
    "type": "choice",
    "name": "queue",
    "instructions": "Which queue?",
    "choices": [{"value": "billing", "description": "payments"}, {"value": "shipping"}],
}
SCORE = {"type": "score", "instructions": "How urgent?", "levels": [{"label": "low"}, {"label": "high", "description": "now"}]}


def decide(questions, **more):
    return client.decisions.create(**{"model": TRIAGE_MODEL, "input": DOUBLE_CHARGE, "questions": questions, **more})


@check("POST /v1/decisions", "predicate, choice and score, in their order")
def _():
    decision = decide([SCORE, PREDICATE, CHOICE])
    score, predicate, choice = decision.answers
    equal([answer.type for answer in decision.answers], ["score", "predicate", "choice"])
    equal([answer.name for answer in decision.answers], [None, "money", "queue"])
    assert all("name" in answer.model_fields_set for answer in decision.answers), "a name is missing"
    assert 0 <= predicate.probability <= 1
    sums_to_one(chance.probability for chance in choice.probabilities)
    best = max(choice.probabilities, key=lambda chance: chance.probability)
    equal(choice.choice, best.value)
    near(choice.confidence, (best.probability - 1 / 2) / (1 - 1 / 2))
    equal([(chance.value, chance.label) for chance in score.probabilities], [(0, "low"), (1, "high")])
    near(score.score, score.probabilities[1].probability)
    usage = decision.usage
    equal((usage.output_tokens, usage.total_tokens), (0, usage.input_tokens))


@check("POST /v1/decisions", "a boolean is not the string of the same text")
def _():
    choices = [{"value": True, "description": "it is"}, {"value": "true"}, {"value": False}]
    answer = decide([{**CHOICE, "choices": choices}]).answers[0]
    equal([repr(chance.value) for chance in answer.probabilities], ["True", "'true'", "False"])
    assert any(answer.choice is chance.value or answer.choice == chance.value for chance in answer.probabilities)


@check("POST /v1/decisions", "messages, parts, JSON and tool calls as input")
def _():
    talk = [
        {"role": "system", "content": "A support desk."},
        {"role": "user", "content": [{"type": "input_text", "text": "I was"}, {"type": "input_json", "data": {"charged": 2}}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "One moment."}]},
        {"type": "function_call", "call_id": "1", "name": "find_order", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "order 1182"},
    ]
    equal(decide([CHOICE], input=talk).answers[0].type, "choice")
    parts = [{"type": "input_text", "text": "Which queue?"}, {"type": "input_json", "data": {"hint": "money"}}]
    equal(decide([{**CHOICE, "instructions": parts}]).answers[0].type, "choice")


@check("POST /v1/decisions", "the same question, the same bits, from the cache the second time")
def _():
    first, second = decide([CHOICE, PREDICATE]), decide([CHOICE, PREDICATE])
    equal(first.answers, second.answers)
    assert second.usage.input_tokens_details.cached_tokens > 0, second.usage
    alone = decide([PREDICATE]).answers[0]
    equal(alone.probability, first.answers[1].probability)


@check("POST /v1/decisions", "2 to 255 choices")
def _():
    for n_choices in (2, 17, 255):
        choices = [{"value": f"option {n}"} for n in range(n_choices)]
        answer = decide([{**CHOICE, "choices": choices}]).answers[0]
        equal([chance.value for chance in answer.probabilities], [choice["value"] for choice in choices])
        sums_to_one(chance.probability for chance in answer.probabilities)


@check("POST /v1/decisions", "400 questions about one input, evaluated once")
def _():
    questions = [{**PREDICATE, "name": f"q{n}", "instructions": f"The order number is {1000 + n}."} for n in range(400)]
    decision = decide(questions)
    equal([answer.name for answer in decision.answers], [question["name"] for question in questions])
    assert decision.usage.input_tokens_details.cached_tokens > 0, decision.usage


@check("POST /v1/decisions", "eight at once, by the asynchronous client")
async def _():
    async with openai.AsyncOpenAI(**aclient_options) as aclient:
        asked = (aclient.decisions.create(model=TRIAGE_MODEL, input=DOUBLE_CHARGE, questions=[CHOICE]) for _ in range(8))
        decisions = await asyncio.gather(*asked)
    equal(len({decision.answers[0].confidence for decision in decisions}), 1)


@check("POST /v1/decisions", "the client's own tool runner")
def _():
    done = []
    candidates = [
        {"id": "refund", "description": "give the money back", "execute": lambda: done.append("refund")},
        {"id": "finish", "description": "nothing is left to do", "done": True},
    ]
    runner = DecisionsToolRunner(observe=lambda: "The customer waits.", candidates=lambda _: candidates if not done else candidates[1:])
    result = runner.run(client, {"model": TRIAGE_MODEL, "input": DOUBLE_CHARGE}, max_steps=3)
    equal((result["status"], result["completed_candidate_ids"]), ("unverified", done))


@check("POST /v1/decisions", "what is out of bounds is refused")
def _():
    many = [{"value": str(n)} for n in range(256)]
    image = [{"role": "user", "content": [{"type": "input_image", "image_url": IMAGE}]}]
    for word, questions, more in (
        ("questions", [], {}),
        ("400", [PREDICATE] * 401, {}),
        ("questions[0]", [{**CHOICE, "choices": many[:1]}], {}),
        ("255", [{**CHOICE, "choices": many}], {}),
        ("questions[1]", [PREDICATE, {**CHOICE, "choices": [{"value": "a"}, {"value": "a"}]}], {}),
        ("questions[0]", [{**SCORE, "levels": [{"label": "only"}]}], {}),
        ("guess", [{"type": "guess", "instructions": "?"}], {}),
        ("image", [CHOICE], {"input": image}),
    ):
        with raises(openai.BadRequestError, word):
            decide(questions, **more)
    with raises(openai.NotFoundError, "nowhere"):
        decide([CHOICE], model="nowhere")


@check("GET /v1/nothing", "an unknown path is a NotFoundError in this dialect's shape")
def _():
    with raises(openai.NotFoundError, type="invalid_request_error"):
        client.get("/nothing", cast_to=object)


if __name__ == "__main__":
    run("openai")
