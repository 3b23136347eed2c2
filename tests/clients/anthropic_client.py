#!/usr/bin/env python3
"""Anthropic's Python client, synchronous and asynchronous, against `/v1/messages`."""

import asyncio
import time
import typing

import anthropic
import pydantic

from checks import (
    CALLER_MODEL,
    CONCLUSION,
    DOUBLE_CHARGE,
    ENDLESS_MODEL,
    FOX,
    FOX_MODEL,
    LABEL_MODEL,
    THINKER_MODEL,
    THOUGHT,
    URL,
    check,
    equal,
    is_label,
    raises,
    run,
)

options = {"base_url": URL, "api_key": "any", "max_retries": 0}
client = anthropic.Anthropic(**options)
HELLO = [{"role": "user", "content": "hello"}]
# The client has no argument for a temperature any more.
COLD = {"extra_body": {"temperature": 0}}
FOX_CHAT = {"model": FOX_MODEL, "messages": HELLO, "max_tokens": 100, **COLD}
WEATHER = {
    "name": "get_weather",
    "description": "Say what the weather will be.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


class Order(pydantic.BaseModel):
    """Every text of this form is short, whatever a model would rather say."""

    items: typing.Annotated[int, pydantic.Field(ge=0, le=9)]
    queue: typing.Literal["billing", "shipping", "other"]


@check("POST /v1/messages", "one message with its usage")
def _():
    message = client.messages.create(**FOX_CHAT)
    equal((message.type, message.role, message.model), ("message", "assistant", FOX_MODEL))
    equal([(block.type, block.text) for block in message.content], [("text", FOX)])
    equal((message.stop_reason, message.stop_sequence), ("end_turn", None))
    usage = message.usage
    assert usage.output_tokens > 0 and usage.input_tokens + (usage.cache_read_input_tokens or 0) > 0, usage
    assert message._request_id, "there is no request-id"


@check("POST /v1/messages", "the events of a stream, in their order")
def _():
    events = list(client.messages.create(**FOX_CHAT, stream=True))
    kinds = [event.type for event in events if event.type != "ping"]
    equal((kinds[:2], kinds[-3:]), (["message_start", "content_block_start"], ["content_block_stop", "message_delta", "message_stop"]))
    equal(set(kinds[2:-3]), {"content_block_delta"})
    equal("".join(event.delta.text for event in events if event.type == "content_block_delta"), FOX)
    equal(events[-2].delta.stop_reason, "end_turn")
    assert events[-2].usage.output_tokens > 0


@check("POST /v1/messages", "the client's own stream helper")
def _():
    with client.messages.stream(**FOX_CHAT) as stream:
        equal("".join(stream.text_stream), FOX)
        equal(stream.get_final_message().stop_reason, "end_turn")


@check("POST /v1/messages", "system texts, earlier turns, contents as blocks")
def _():
    talk = [
        {"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [{"type": "text", "text": "yes?"}]},
        *HELLO,
    ]
    counts = [
        client.messages.count_tokens(model=FOX_MODEL, messages=HELLO).input_tokens,
        client.messages.count_tokens(model=FOX_MODEL, messages=HELLO, system="Be brief.").input_tokens,
        client.messages.count_tokens(model=FOX_MODEL, messages=talk, system=[{"type": "text", "text": "Be brief."}]).input_tokens,
    ]
    assert counts[0] < counts[1] < counts[2], counts
    equal(client.messages.create(**{**FOX_CHAT, "messages": talk}, system="Be brief.").content[0].text, FOX)


@check("POST /v1/messages", "a limit, and stop sequences")
def _():
    message = client.messages.create(**{**FOX_CHAT, "max_tokens": 3})
    equal((message.content[0].text, message.stop_reason, message.usage.output_tokens), ("The quick brown", "max_tokens", 3))
    message = client.messages.create(**FOX_CHAT, stop_sequences=["zebra", " fox"])
    equal((message.content[0].text, message.stop_reason, message.stop_sequence), ("The quick brown", "stop_sequence", " fox"))


@check("POST /v1/messages", "an object of a pydantic class")
def _():
    assert isinstance(client.messages.parse(**FOX_CHAT, output_format=Order).parsed_output, Order)
    form = {"format": {"type": "json_schema", "schema": {"type": "string", "enum": ["billing", "shipping"]}}}
    text = client.messages.create(**FOX_CHAT, output_config=form).content[0].text
    assert text.strip('"') in ("billing", "shipping"), text


@check("POST /v1/messages", "a label of the model's own list is bare, with its probabilities beside it")
def _():
    asked = {"model": LABEL_MODEL, "messages": [{"role": "user", "content": DOUBLE_CHARGE}], "max_tokens": 10}
    message = client.messages.create(**asked)
    is_label(message.content[0].text, message.slm)
    with client.messages.stream(**asked) as stream:
        (told,) = [event.slm for event in stream if event.type == "message_delta"]
    equal(told["fields"], message.slm["fields"])


@check("POST /v1/messages", "a tool's use, whole and streamed")
def _():
    asked = {**FOX_CHAT, "model": CALLER_MODEL, "tools": [WEATHER]}
    message = client.messages.create(**asked)
    equal(message.stop_reason, "tool_use")
    use = next(block for block in message.content if block.type == "tool_use")
    equal((use.name, use.input), ("get_weather", {"city": "Paris", "days": 2}))
    with client.messages.stream(**asked) as stream:
        final = stream.get_final_message()
    equal([(block.name, block.input) for block in final.content], [("get_weather", {"city": "Paris", "days": 2})])


@check("POST /v1/messages", "a tool's result goes back by its id")
def _():
    asked = {"model": CALLER_MODEL, "tools": [WEATHER]}
    message = client.messages.create(**asked, max_tokens=100, messages=HELLO, **COLD)
    result = {"type": "tool_result", "tool_use_id": message.content[-1].id, "content": [{"type": "text", "text": "rain"}]}
    talk = [*HELLO, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    counts = [client.messages.count_tokens(**asked, messages=messages).input_tokens for messages in (HELLO, talk)]
    assert counts[1] > counts[0] + 20, counts
    equal(client.messages.create(**asked, max_tokens=100, messages=talk, **COLD).stop_reason, "tool_use")


@check("POST /v1/messages", "a call that is required, of a model that would rather talk; and none")
def _():
    for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}):
        message = client.messages.create(**FOX_CHAT, tools=[WEATHER], tool_choice=choice)
        use = next(block for block in message.content if block.type == "tool_use")
        equal((use.name, sorted(use.input)), ("get_weather", ["city", "days"]))
    message = client.messages.create(**FOX_CHAT, tools=[WEATHER], tool_choice={"type": "none"})
    equal(message.content[0].text, FOX)


@check("POST /v1/messages", "thoughts as blocks of their own, whole and streamed")
def _():
    asked = {**FOX_CHAT, "model": THINKER_MODEL, "max_tokens": 2000, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    blocks = client.messages.create(**asked).content
    equal([block.type for block in blocks], ["thinking", "text"])
    equal((blocks[0].thinking.strip(), blocks[1].text.strip()), (THOUGHT, CONCLUSION))
    with client.messages.stream(**asked) as stream:
        blocks = stream.get_final_message().content
    equal((blocks[0].thinking.strip(), blocks[1].text.strip()), (THOUGHT, CONCLUSION))


@check("POST /v1/messages", "leaving a stream in its middle ends the work")
def _():
    started = time.monotonic()
    with client.messages.stream(**{**FOX_CHAT, "model": ENDLESS_MODEL, "max_tokens": 100_000}) as stream:
        for _, text in zip(range(5), stream.text_stream):
            assert text
    equal(client.messages.create(**FOX_CHAT).content[0].text, FOX)
    assert time.monotonic() - started < 20, "the work went on"


@check("POST /v1/messages", "eight at once, by the asynchronous client")
async def _():
    async with anthropic.AsyncAnthropic(**options) as aclient:
        messages = await asyncio.gather(*(aclient.messages.create(**FOX_CHAT) for _ in range(8)))
    equal({message.content[0].text for message in messages}, {FOX})


@check("POST /v1/messages", "a missing model is a NotFoundError, streamed or not")
def _():
    for stream in (False, True):
        with raises(anthropic.NotFoundError, "nowhere", type="not_found_error"):
            client.messages.create(**{**FOX_CHAT, "model": "nowhere"}, stream=stream)


@check("POST /v1/messages", "an answer's content goes back as the client dumps it")
def _():
    thinking = {"type": "enabled", "budget_tokens": 1024}
    thought = client.messages.create(**{**FOX_CHAT, "model": THINKER_MODEL, "max_tokens": 2000, "thinking": thinking})
    used = client.messages.create(**{**FOX_CHAT, "model": CALLER_MODEL, "tools": [WEATHER]})
    result = {"type": "tool_result", "tool_use_id": used.content[-1].id, "content": "rain"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    for message, answer in ((thought, {"type": "text", "text": "again"}), (used, result)):
        for content in (message.content, [hidden, *(block.model_dump() for block in message.content)]):
            talk = [*HELLO, {"role": message.role, "content": content}, {"role": "user", "content": [answer]}]
            equal(client.messages.create(**{**FOX_CHAT, "messages": talk}).content[0].text, FOX)


@check("POST /v1/messages", "what coding tools send is taken, and told in a header")
def _():
    cached = {"type": "ephemeral"}
    raw = client.messages.with_raw_response.create(
        model=FOX_MODEL,
        max_tokens=2000,
        system=[{"type": "text", "text": "Be brief.", "cache_control": cached}],
        messages=[{"role": "user", "content": [{"type": "text", "text": "hello", "cache_control": cached}]}],
        tools=[{**WEATHER, "cache_control": cached}, {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}],
        metadata={"user_id": "u"},
        thinking={"type": "enabled", "budget_tokens": 1024},
        extra_body={**COLD.get("extra_body", {}), "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}},
    )
    equal(raw.parse().content[0].text, FOX)
    warning = raw.headers["warning"]
    for name in ("context_management", "metadata", "system[].cache_control", "thinking", "tools[] web_search", "tools[].cache_control"):
        assert f"{name} (" in warning, warning


@check("POST /v1/messages", "what is not supported is refused by its name")
def _():
    for name, more in {
        "image": {"messages": [{"role": "user", "content": [IMAGE]}]},
        "container": {"container": "box"},
        "mcp_servers": {"extra_body": {"mcp_servers": [{"type": "url", "url": "https://a.test", "name": "a"}]}},
        "web_search": {
            "tools": [{"type": "web_search_20250305", "name": "web_search"}],
            "tool_choice": {"type": "tool", "name": "web_search"},
        },
        '`temperature` is "hot", a text; give a number': {"extra_body": {"temperature": "hot"}},
        "tool_choice": {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "unknown"}},
        "format": {"output_config": {"format": {"type": "json_schema", "schema": {"type": "nonsense"}}}},
        "tempreature": {"extra_body": {"tempreature": 0}},
        "max_tokens": {"max_tokens": -1},
        "2048": {"messages": [{"role": "user", "content": "x " * 5000}]},
    }.items():
        with raises(anthropic.BadRequestError, name, type="invalid_request_error"):
            client.messages.create(**{**FOX_CHAT, **more})


@check("POST /v1/messages/count_tokens", "the tokens that a message then costs")
def _():
    counted = client.messages.count_tokens(model=FOX_MODEL, messages=HELLO, system="Be brief.", tools=[WEATHER]).input_tokens
    usage = client.messages.create(**FOX_CHAT, system="Be brief.", tools=[WEATHER]).usage
    equal(usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0), counted)
    with raises(anthropic.NotFoundError, "nowhere"):
        client.messages.count_tokens(model="nowhere", messages=HELLO)


@check("GET /v1/models", "all of them, as this client lists them")
def _():
    models = {model.id: model for model in client.models.list()}
    assert f"{FOX_MODEL}:latest" in models or FOX_MODEL in models, list(models)
    model = next(iter(models.values()))
    equal(model.type, "model")
    assert model.display_name and model.created_at.year >= 1970, model
    equal(client.models.retrieve(FOX_MODEL).type, "model")


if __name__ == "__main__":
    run("anthropic")
