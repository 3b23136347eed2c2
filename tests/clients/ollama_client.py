#!/usr/bin/env python3
"""Ollama's Python client, synchronous and asynchronous, against all of Ollama's API."""

import asyncio
import hashlib
import json
import math
import os
import pathlib
import tempfile
import time

import ollama

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
    LABELS,
    THINKER_MODEL,
    THOUGHT,
    TRIAGE_MODEL,
    URL,
    Skipped,
    check,
    equal,
    get,
    is_label,
    near,
    raises,
    run,
    sums_to_one,
)

client = ollama.Client(URL)
HELLO = [{"role": "user", "content": "hello"}]
COLD = {"temperature": 0}
QUEUES = {"type": "string", "enum": ["billing", "shipping", "other"]}
# Every text of this form is short, whatever a model would rather say.
ORDER = {
    "type": "object",
    "properties": {"customer": {"type": "string", "maxLength": 6}, "items": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["customer", "items"],
    "additionalProperties": False,
}


def get_weather(city: str, days: int = 1) -> str:
    """Say what the weather will be.

    Args:
      city: the city's name
      days: how many days ahead
    """
    return f"{city}: rain in {days} days"


def measured(reply):
    """The last part of an answer has its counts and times."""
    equal(reply.done, True)
    assert reply.prompt_eval_count > 0 and reply.eval_count > 0, reply
    assert reply.total_duration >= reply.eval_duration > 0, reply
    assert reply.load_duration >= 0 and reply.prompt_eval_duration >= 0, reply
    assert "T" in reply.created_at, reply.created_at


# --- generate ---------------------------------------------------------------------------------------------------------


@check("POST /api/generate", "one object with its counts and times")
def _():
    reply = client.generate(FOX_MODEL, "hello", options=COLD)
    equal((reply.response, reply.done_reason, reply.model), (FOX, "stop", FOX_MODEL))
    measured(reply)


@check("POST /api/generate", "a stream to its last line")
def _():
    parts = list(client.generate(FOX_MODEL, "hello", options=COLD, stream=True))
    equal("".join(part.response for part in parts), FOX)
    equal([part.done for part in parts], [False] * (len(parts) - 1) + [True])
    assert len(parts) > 5, f"{len(parts)} parts are no stream"
    equal(parts[-1].done_reason, "stop")
    measured(parts[-1])


@check("POST /api/generate", "a limit ends it as `length`")
def _():
    reply = client.generate(FOX_MODEL, "hello", options={"temperature": 0, "num_predict": 3})
    equal((reply.response, reply.done_reason, reply.eval_count), ("The quick brown", "length", 3))


@check("POST /api/generate", "a stop string ends it before itself")
def _():
    reply = client.generate(FOX_MODEL, "hello", options={"temperature": 0, "stop": [" fox", "zebra"]})
    equal((reply.response, reply.done_reason), ("The quick brown", "stop"))


@check("POST /api/generate", "system, template and raw texts make other prompts")
def _():
    counts = [
        client.generate(FOX_MODEL, "hello", options=COLD, **more).prompt_eval_count
        for more in ({}, {"system": "be brief"}, {"template": "{{ .Prompt }}"}, {"raw": True})
    ]
    assert counts[1] > counts[0] > counts[2] >= counts[3], counts


@check("POST /api/generate", "a conversation goes on behind exactly its tokens")
def _():
    alone = client.generate(FOX_MODEL, "you", options=COLD)
    first = client.generate(FOX_MODEL, "hello", options=COLD)
    # The prompt, the answer, and the end of its turn.
    equal(len(first.context), first.prompt_eval_count + first.eval_count + 1)
    second = list(client.generate(FOX_MODEL, "you", context=first.context, options=COLD, stream=True))
    equal("".join(part.response for part in second), FOX)
    equal([part.context for part in second[:-1]], [None] * (len(second) - 1))
    equal(second[-1].context[: len(first.context)], first.context)
    # A text begins once.
    equal(second[-1].prompt_eval_count, len(first.context) + alone.prompt_eval_count - 1)
    equal(second[-1].context[len(first.context) :], alone.context[1:])


@check("POST /api/generate", "a raw prompt is the model's own, and has nothing beside it")
def _():
    reply = client.generate(FOX_MODEL, f"hello{ANSWER}", raw=True, options=COLD)
    equal((reply.response, reply.context), (FOX, None))
    for more in ({"system": "be brief"}, {"template": "{{ .Prompt }}"}, {"context": [1]}):
        with raises(ollama.ResponseError, "raw mode does not support template, system, or context", status_code=400):
            client.generate(FOX_MODEL, "hello", raw=True, **more)


@check("POST /api/generate", "the Options class and keep_alive")
def _():
    options = ollama.Options(temperature=0, seed=2**62 + 1, num_predict=2, num_ctx=1024, top_k=40, top_p=0.9, repeat_last_n=64)
    reply = client.generate(FOX_MODEL, "hello", options=options, keep_alive="3m")
    equal(reply.response, "The quick")


@check("POST /api/generate", "an empty prompt loads, keep_alive 0 unloads")
def _():
    equal(client.generate(FOX_MODEL).done_reason, "load")
    assert any(model.model == f"{FOX_MODEL}:latest" for model in client.ps().models)
    equal(client.generate(FOX_MODEL, keep_alive=0).done_reason, "unload")
    deadline = time.monotonic() + 10
    while any(model.model == f"{FOX_MODEL}:latest" for model in client.ps().models):
        assert time.monotonic() < deadline, "it is still loaded"
        time.sleep(0.05)


@check("POST /api/generate", "a label of an enum")
def _():
    reply = client.generate(TRIAGE_MODEL, DOUBLE_CHARGE, format=QUEUES)
    equal(json.loads(reply.response), "billing")


@check("POST /api/generate", "the model's own form")
def _():
    answer = json.loads(client.generate(TRIAGE_MODEL, DOUBLE_CHARGE).response)
    equal((answer["queue"], sorted(answer)), ("billing", ["queue", "refund", "urgency"]))


@check("POST /api/generate", "a label of the model's own list is bare, JSON where JSON is asked for, and has its probabilities as tokens")
def _():
    reply = client.generate(LABEL_MODEL, DOUBLE_CHARGE, logprobs=True, top_logprobs=len(LABELS))
    is_label(reply.response)
    (token,) = reply.logprobs
    equal(token.token, reply.response)
    sums_to_one(math.exp(one.logprob) for one in token.top_logprobs)
    equal(json.loads(client.generate(LABEL_MODEL, DOUBLE_CHARGE, format="json").response), reply.response)
    assert reply.prompt_eval_duration > 0 and (reply.eval_count > 0) == (reply.eval_duration > 0), reply


@check("POST /api/generate", "log-probabilities of tokens and of their rivals")
def _():
    reply = client.generate(FOX_MODEL, "hello", options=COLD, logprobs=True, top_logprobs=3)
    equal("".join(entry.token for entry in reply.logprobs), FOX)
    for entry in reply.logprobs:
        near(entry.logprob, 0, by=1e-2)
        equal(len(entry.top_logprobs), 3)
        equal(entry.top_logprobs[0].token, entry.token)
        assert entry.top_logprobs[0].logprob > entry.top_logprobs[1].logprob, entry


# --- chat -------------------------------------------------------------------------------------------------------------


@check("POST /api/chat", "one object")
def _():
    reply = client.chat(FOX_MODEL, HELLO, options=COLD)
    equal((reply.message.role, reply.message.content, reply.done_reason), ("assistant", FOX, "stop"))
    equal((reply.message.tool_calls, reply.message.thinking), (None, None))
    measured(reply)


@check("POST /api/chat", "a stream to its last line")
def _():
    parts = list(client.chat(FOX_MODEL, HELLO, options=COLD, stream=True))
    equal("".join(part.message.content for part in parts), FOX)
    equal({part.message.role for part in parts}, {"assistant"})
    equal([part.done for part in parts], [False] * (len(parts) - 1) + [True])
    measured(parts[-1])


@check("POST /api/chat", "a conversation with a system message is a longer prompt")
def _():
    talk = [{"role": "system", "content": "be brief"}, *HELLO, {"role": "assistant", "content": "yes?"}, *HELLO]
    counts = [client.chat(FOX_MODEL, messages, options=COLD).prompt_eval_count for messages in (HELLO, talk)]
    assert counts[1] > counts[0] + 15, counts


@check("POST /api/chat", "an object with open fields")
def _():
    reply = client.chat(FOX_MODEL, HELLO, format=ORDER, options={"temperature": 0, "num_predict": 200})
    order = json.loads(reply.message.content)
    assert len(order["customer"]) <= 6 and 0 <= order["items"] <= 9, order


@check("POST /api/chat", "`json` is some JSON object")
def _():
    reply = client.chat(FOX_MODEL, HELLO, format="json", options={"temperature": 0, "num_predict": 100})
    assert reply.message.content.lstrip().startswith("{"), reply.message.content
    if reply.done_reason == "stop":
        assert isinstance(json.loads(reply.message.content), dict)


@check("POST /api/chat", "a stream of a closed form")
def _():
    parts = list(client.chat(TRIAGE_MODEL, [{"role": "user", "content": DOUBLE_CHARGE}], format=QUEUES, stream=True))
    equal(json.loads("".join(part.message.content for part in parts)), "billing")
    equal(parts[-1].done, True)


@check("POST /api/chat", "a function as a tool, its call as an object")
def _():
    reply = client.chat(CALLER_MODEL, HELLO, tools=[get_weather], options=COLD)
    equal([call.function.name for call in reply.message.tool_calls], ["get_weather"])
    equal(dict(reply.message.tool_calls[0].function.arguments), {"city": "Paris", "days": 2})
    equal((reply.message.content or "", reply.done_reason), ("", "stop"))
    equal(get_weather(**reply.message.tool_calls[0].function.arguments), "Paris: rain in 2 days")


@check("POST /api/chat", "a stream with a tool's call")
def _():
    parts = list(client.chat(CALLER_MODEL, HELLO, tools=[get_weather], options=COLD, stream=True))
    calls = [call for part in parts for call in part.message.tool_calls or []]
    equal([(call.function.name, dict(call.function.arguments)) for call in calls], [("get_weather", {"city": "Paris", "days": 2})])
    equal("".join(part.message.content or "" for part in parts), "")
    equal(parts[-1].done, True)


@check("POST /api/chat", "a tool's result goes back")
def _():
    call = {"function": {"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}}
    talk = [
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "rain", "tool_name": "get_weather"},
    ]
    reply = client.chat(CALLER_MODEL, talk, tools=[get_weather], options=COLD)
    by_name = {"role": "tool", "content": "rain", "name": "get_weather", "tool_call_id": "call_1"}
    body = {"model": CALLER_MODEL, "messages": [*talk[:-1], by_name], "options": COLD, "stream": False}
    equal(client._client.post("/api/chat", json=body).status_code, 200)
    assert reply.prompt_eval_count > client.chat(CALLER_MODEL, HELLO, tools=[get_weather], options=COLD).prompt_eval_count


@check("POST /api/chat", "thoughts stand apart, in one object and in a stream")
def _():
    reply = client.chat(THINKER_MODEL, HELLO, think=True, options=COLD)
    equal(((reply.message.thinking or "").strip(), reply.message.content.strip()), (THOUGHT, CONCLUSION))
    parts = list(client.chat(THINKER_MODEL, HELLO, think=True, options=COLD, stream=True))
    equal("".join(part.message.thinking or "" for part in parts).strip(), THOUGHT)
    equal("".join(part.message.content or "" for part in parts).strip(), CONCLUSION)


@check("POST /api/chat", "think false is nothing to a model that does not think; true is refused")
def _():
    equal(client.chat(FOX_MODEL, HELLO, think=False, options=COLD).message.content, FOX)
    with raises(ollama.ResponseError, "think", status_code=400):
        client.chat(FOX_MODEL, HELLO, think=True)


@check("POST /api/chat", "log-probabilities in a stream, each once")
def _():
    parts = list(client.chat(FOX_MODEL, HELLO, options=COLD, logprobs=True, top_logprobs=2, stream=True))
    entries = [entry for part in parts for entry in part.logprobs or []]
    equal("".join(entry.token for entry in entries), FOX)
    assert all(len(entry.top_logprobs) == 2 for entry in entries)


@check("POST /api/chat", "leaving a stream in its middle ends the work")
def _():
    started = time.monotonic()
    for n_parts, part in enumerate(client.chat(ENDLESS_MODEL, HELLO, options={"temperature": 0, "num_predict": 100_000}, stream=True)):
        assert not part.done, "it ended by itself"
        if n_parts == 5:
            break
    equal(client.chat(ENDLESS_MODEL, HELLO, options={"temperature": 0, "num_predict": 4}).message.content, "abababab")
    assert time.monotonic() - started < 20, "the work went on"


@check("POST /api/chat", "eight at once, by the asynchronous client")
async def _():
    aclient = ollama.AsyncClient(URL)
    asked = (aclient.chat(FOX_MODEL, HELLO, options=COLD) for _ in range(8))
    equal({reply.message.content for reply in await asyncio.gather(*asked)}, {FOX})
    streamed = [part.message.content async for part in await aclient.chat(FOX_MODEL, HELLO, options=COLD, stream=True)]
    equal("".join(streamed), FOX)


# --- refused ----------------------------------------------------------------------------------------------------------


@check("POST /api/generate", "a missing model is a ResponseError 404, streamed or not")
def _():
    with raises(ollama.ResponseError, "nowhere", status_code=404):
        client.generate("nowhere", "hello")
    with raises(ollama.ResponseError, "nowhere", status_code=404):
        list(client.chat("nowhere", HELLO, stream=True))


@check("POST /api/generate", "what is not supported is refused by its name")
def _():
    png = b"\x89PNG\r\n\x1a\n"
    for name, request in {
        "images": {"images": [png]},
        "suffix": {"suffix": "the end"},
        "context": {"context": [-1_000_000_000_000]},
        "100000": {"context": [100_000]},
        "template": {"template": "{{ .Nothing"},
        "steps": {"steps": 4},
        "mirostat": {"options": {"mirostat": 2}},
        "tempreature": {"options": {"tempreature": 0}},
        "top_logprobs": {"logprobs": True, "top_logprobs": 21},
    }.items():
        with raises(ollama.ResponseError, name, status_code=400):
            client.generate(FOX_MODEL, "hello", **request)


@check("POST /api/chat", "images are refused by name")
def _():
    with raises(ollama.ResponseError, "images", status_code=400):
        client.chat(FOX_MODEL, [{"role": "user", "content": "what is this?", "images": [b"\x89PNG\r\n\x1a\n"]}])


@check("POST /api/chat", "a schema that is none, and one that nothing can meet, are refused")
def _():
    for schema in ({"type": "nonsense"}, {"type": "integer", "minimum": 5, "maximum": 1}, {"enum": []}):
        with raises(ollama.ResponseError, status_code=400):
            client.chat(FOX_MODEL, HELLO, format=schema)


@check("POST /api/chat", "a prompt beyond the context is refused with both numbers")
def _():
    with raises(ollama.ResponseError, "2048", status_code=400):
        client.chat(FOX_MODEL, [{"role": "user", "content": "x " * 5000}])


# --- embeddings -------------------------------------------------------------------------------------------------------


@check("POST /api/embed", "one text and several, of unit length")
def _():
    one = client.embed(EMBEDDING_MODEL, "the cat").embeddings
    both = client.embed(EMBEDDING_MODEL, ["the cat", "a dog"])
    equal([len(one), len(both.embeddings)], [1, 2])
    for number, other in zip(one[0], both.embeddings[0]):
        near(number, other, by=1e-5)
    near(sum(number * number for number in one[0]), 1)
    assert both.prompt_eval_count > 0 and both.total_duration > 0


@check("POST /api/embed", "fewer dimensions, again of unit length")
def _():
    whole, short = (client.embed(EMBEDDING_MODEL, "the cat", dimensions=n).embeddings[0] for n in (None, 8))
    equal(len(short), 8)
    near(sum(number * number for number in short), 1)
    near(short[0] / short[1], whole[0] / whole[1], by=1e-3)


@check("POST /api/embed", "too long a text is cut only where that is asked for")
def _():
    with raises(ollama.ResponseError, status_code=400):
        client.embed(EMBEDDING_MODEL, "the cat " * 2000, truncate=False)
    equal(len(client.embed(EMBEDDING_MODEL, "the cat " * 2000, truncate=True).embeddings), 1)


@check("POST /api/embeddings", "the older form")
def _():
    whole = client.embeddings(EMBEDDING_MODEL, "the cat").embedding
    equal(len(whole), len(client.embed(EMBEDDING_MODEL, "the cat").embeddings[0]))


@check("POST /api/embed", "a missing model is a ResponseError 404")
def _():
    with raises(ollama.ResponseError, "nowhere", status_code=404):
        client.embed("nowhere", "the cat")


# --- models -----------------------------------------------------------------------------------------------------------


@check("GET /api/tags", "every model with its details")
def _():
    models = {model.model: model for model in client.list().models}
    fox = models[f"{FOX_MODEL}:latest"]
    equal((len(fox.digest), fox.details.format, fox.details.family), (64, "gguf", "llama"))
    assert fox.size > 100_000 and fox.modified_at.year >= 2024, fox


@check("GET /api/ps", "what is loaded, until when, with which context")
def _():
    client.generate(FOX_MODEL, keep_alive=-1)
    running = {model.model: model for model in client.ps().models}[f"{FOX_MODEL}:latest"]
    assert running.size > 0 and running.context_length > 0 and running.expires_at.year > 2024, running
    client.generate(FOX_MODEL, keep_alive="5m")


@check("POST /api/show", "details, template, capabilities and the GGUF's own entries")
def _():
    shown = client.show(FOX_MODEL)
    equal((shown.details.format, shown.details.family), ("gguf", "llama"))
    equal((shown.modelinfo["general.architecture"], shown.modelinfo["llama.context_length"]), ("llama", 2048))
    assert "completion" in shown.capabilities and "tools" in shown.capabilities, shown.capabilities
    assert shown.modelfile.lstrip("# \n").upper().find("FROM ") >= 0, shown.modelfile
    assert shown.template and shown.modified_at.year >= 2024
    assert "embedding" in client.show(EMBEDDING_MODEL).capabilities


@check("POST /api/create", "a model from another, streamed, with everything that the client can say")
def _():
    statuses = [
        part.status
        for part in client.create(
            "made",
            from_=FOX_MODEL,
            system="Be brief.",
            parameters={"temperature": 0, "stop": ["."], "num_ctx": 512},
            license=["MIT"],
            messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}],
            stream=True,
        )
    ]
    equal(statuses[-1], "success")
    equal(statuses.count("success"), 1)
    shown = client.show("made")
    assert "Be brief." in shown.modelfile and "MIT" in shown.license, shown
    assert "stop" in shown.parameters and "temperature" in shown.parameters, shown.parameters
    equal(client.generate("made", "hello").response, FOX.removesuffix("."))


def uploaded(aclient=None):
    """A copy of a model's file, with a digest of its own, as a blob on the server."""
    gguf = os.environ.get("SLM_GGUF")
    if not gguf:
        raise Skipped("SLM_GGUF names no file to upload")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.gguf"
        # Bytes behind a GGUF's last tensor belong to nothing, and make another digest.
        path.write_bytes(pathlib.Path(gguf).read_bytes() + (b"async" if aclient else b"sync").ljust(32, b"\0"))
        digest = asyncio.run(aclient.create_blob(path)) if aclient else client.create_blob(path)
        equal(digest, f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    return digest


@check("POST /api/blobs", "an upload of known length, and a model of it")
def _():
    equal(client.create("uploaded", files={"model.gguf": uploaded()}).status, "success")
    equal(client.generate("uploaded", "hello", options=COLD).response, FOX)


@check("POST /api/blobs", "an upload in chunks, by the asynchronous client")
def _():
    equal(client.create("uploaded", files={"model.gguf": uploaded(ollama.AsyncClient(URL))}).status, "success")


@check("POST /api/create", "what cannot be made is refused")
def _():
    with raises(ollama.ResponseError):
        client.create("unmade", from_="nowhere-at-all")
    with raises(ollama.ResponseError, status_code=400):
        client.create("unmade", files={"model.gguf": "sha256:" + "0" * 64})
    with raises(ollama.ResponseError, "quantize", status_code=400):
        client.create("unmade", from_=FOX_MODEL, quantize="q4_K_M")
    with raises(ollama.ResponseError, status_code=404):
        client.show("unmade")


@check("POST /api/copy", "a model under a second name; a missing one is a 404")
def _():
    equal(client.copy(FOX_MODEL, "copied").status, "success")
    equal(client.generate("copied", "hello", options=COLD).response, FOX)
    with raises(ollama.ResponseError, "nowhere", status_code=404):
        client.copy("nowhere", "copied")


@check("DELETE /api/delete", "a model is gone, and a second time it is a 404")
def _():
    client.copy(FOX_MODEL, "doomed")
    equal(client.delete("doomed").status, "success")
    with raises(ollama.ResponseError, "doomed", status_code=404):
        client.delete("doomed")
    with raises(ollama.ResponseError, status_code=404):
        client.generate("doomed", "hello")


def registry():
    """The name of a model at a registry that takes everything."""
    host = os.environ.get("SLM_TEST_REGISTRY")
    if not host:
        raise Skipped("there is no docker-registry")
    return f"{host}/library/fox"


@check("POST /api/push", "a model goes to a registry, with progress")
def _():
    name = registry()
    client.copy(FOX_MODEL, name)
    parts = list(client.push(name, insecure=True, stream=True))
    equal(parts[-1].status, "success")
    assert any(part.digest and part.total and part.completed == part.total for part in parts), parts


@check("POST /api/pull", "it comes back, with progress, and once more without a stream")
def _():
    name = registry()
    client.delete(name)
    parts = list(client.pull(name, insecure=True, stream=True))
    statuses = [part.status for part in parts]
    equal((statuses[0], statuses[-1], statuses.count("success")), ("pulling manifest", "success", 1))
    equal(client.generate(name, "hello", options=COLD).response, FOX)
    equal(client.pull(name, insecure=True).status, "success")


@check("POST /api/pull", "what no registry has is an error")
def _():
    name = registry()
    with raises(ollama.ResponseError):
        client.pull(name + "-of-nobody", insecure=True)
    with raises(ollama.ResponseError):
        list(client.pull(name + "-of-nobody", insecure=True, stream=True))


@check("GET /api/version", "a version")
def _():
    status, text = get("/api/version")
    equal(status, 200)
    assert json.loads(text)["version"], text


@check("GET /", "says that it runs, to programs")
def _():
    equal(get("/"), (200, "Ollama is running"))


@check("POST /v1/systemone", "typed questions by this client")
def _():
    questions = {
        "billing": {"type": "noul", "instructions": "Is this about billing?"},
        "queue": {"type": "choice", "instructions": "Which queue?", "criteria": {"billing": None, "shipping": "parcels"}},
        "urgency": {"type": "score", "instructions": "How urgent?", "criteria": ["can wait", "this week", "now"]},
    }
    reply = client.systemone(TRIAGE_MODEL, DOUBLE_CHARGE, questions)
    assert 0 <= reply.answers["billing"].noul <= 1
    equal(sorted(reply.answers["queue"].probabilities), ["billing", "shipping"])
    sums_to_one(reply.answers["queue"].probabilities.values())
    equal(reply.answers["urgency"].legend, {"0": "can wait", "1": "this week", "2": "now"})
    assert reply.usage.input_tokens > 0 and reply.usage.output_tokens == 0
    with raises(ollama.ResponseError, "nowhere", status_code=404):
        client.systemone("nowhere", DOUBLE_CHARGE, questions)


if __name__ == "__main__":
    run("ollama")
