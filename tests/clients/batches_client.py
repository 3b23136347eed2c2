#!/usr/bin/env python3
"""OpenAI's Python client against files and batches as slm serves them."""

import json
import time
import typing

import openai
import pydantic

from checks import DOUBLE_CHARGE, EMBEDDING_MODEL, FOX_MODEL, TRIAGE_MODEL, URL, check, equal, raises, run

client = openai.OpenAI(base_url=f"{URL}/v1", api_key="any", max_retries=0)


class WireModel(pydantic.BaseModel):
    """As the classes of vLLM's `run-batch`: what they do not know stays."""

    model_config = pydantic.ConfigDict(extra="allow")


class Message(WireModel):
    role: str
    content: str | None = None


class Choice(WireModel):
    index: int
    message: Message
    logprobs: typing.Any | None = None
    finish_reason: str | None = "stop"
    stop_reason: int | str | None = None


class Usage(WireModel):
    prompt_tokens: int = 0
    total_tokens: int = 0
    completion_tokens: int | None = 0


class ChatAnswer(WireModel):
    id: str
    object: typing.Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Vector(WireModel):
    index: int
    object: str
    embedding: list[float] | str


class VectorAnswer(WireModel):
    object: str
    model: str
    data: list[Vector]
    usage: Usage


class ResponseData(WireModel):
    status_code: int = 200
    request_id: str
    body: ChatAnswer | VectorAnswer | None = None


class ResultLine(WireModel):
    id: str
    custom_id: str
    response: ResponseData | None
    error: typing.Any | None


def line(custom_id, url, **body):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def chat(custom_id, text, model=TRIAGE_MODEL):
    return line(custom_id, "/v1/chat/completions", model=model, messages=[{"role": "user", "content": text}])


def upload(lines, name="requests.jsonl"):
    return client.files.create(file=(name, "\n".join(lines).encode()), purpose="batch")


def ended(batch):
    """The batch once nothing more comes of it."""
    while batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    return batch


def results(file_id):
    return {row["custom_id"]: row for row in map(json.loads, client.files.content(file_id).text.splitlines())}


@check("POST /v1/files", "a file comes, is listed, read and deleted")
def files():
    lines = [chat("a", DOUBLE_CHARGE)]
    file = upload(lines, "täglich.jsonl")
    equal((file.object, file.purpose, file.filename, file.status), ("file", "batch", "täglich.jsonl", "processed"))
    equal(file.bytes, len(lines[0]))
    assert time.time() - 60 < file.created_at <= file.expires_at - 30 * 86400 + 1, file
    equal(client.files.retrieve(file.id), file)
    equal(client.files.content(file.id).text, lines[0])
    second = upload(lines)
    listed = [one.id for one in client.files.list()]
    equal(listed[:2], [second.id, file.id])
    equal([one.id for one in client.files.list(limit=1)][:2], [second.id, file.id])
    equal(client.files.delete(file.id).deleted, True)
    with raises(openai.NotFoundError, f"there is no file `{file.id}`"):
        client.files.retrieve(file.id)
    assert file.id not in [one.id for one in client.files.list()]


@check("POST /v1/files", "what is no file of requests is refused")
def wrong_files():
    with raises(openai.BadRequestError, "`purpose` is `fine-tune`; give `batch`"):
        client.files.create(file=b"x", purpose="fine-tune")
    kept = {"anchor": "created_at", "seconds": 60}
    with raises(openai.BadRequestError, "`expires_after.seconds` is `60`; give 3600 to 2592000 seconds"):
        client.files.create(file=b"x", purpose="batch", expires_after=kept)
    kept = {"anchor": "created_at", "seconds": 7200}
    file = client.files.create(file=b"x", purpose="batch", expires_after=kept)
    equal(file.expires_at, file.created_at + 7200)


@check("POST /v1/batches", "requests are answered as they are one by one")
def batch():
    texts = {f"t{n}": f"{DOUBLE_CHARGE}, and then {n} more times" for n in range(40)}
    file = upload([chat(custom_id, text) for custom_id, text in texts.items()] + [chat("wrong", "x", "no-such-model")])
    created = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"job": "7"}
    )
    equal((created.object, created.status, created.metadata), ("batch", "validating", {"job": "7"}))
    equal(created.expires_at, created.created_at + 86400)
    done = ended(created)
    equal((done.status, done.errors), ("completed", None))
    counts = done.request_counts
    equal((counts.total, counts.completed, counts.failed), (41, 40, 1))
    assert done.created_at <= done.in_progress_at <= done.finalizing_at <= done.completed_at, done
    rows = results(done.output_file_id)
    equal(sorted(rows), sorted(texts))
    for custom_id, text in texts.items():
        alone = client.chat.completions.create(model=TRIAGE_MODEL, messages=[{"role": "user", "content": text}])
        body = rows[custom_id]["response"]["body"]
        equal(body["choices"][0]["message"]["content"], alone.choices[0].message.content)
        equal(body["choices"][0]["slm"], alone.choices[0].slm)
        read = ResultLine.model_validate(rows[custom_id])
        equal((read.response.status_code, read.error, type(read.response.body)), (200, None, ChatAnswer))
        assert read.response.request_id, read
    wrong = results(done.error_file_id)["wrong"]
    equal((wrong["response"]["status_code"], wrong["response"]["body"]["error"]["code"]), (404, "model_not_found"))
    output = client.files.retrieve(done.output_file_id)
    equal((output.purpose, output.filename), ("batch_output", f"{done.id}_output.jsonl"))
    equal([one.id for one in client.batches.list(limit=1)][0], done.id)
    with raises(openai.BadRequestError, f"the batch `{done.id}` is completed already"):
        client.batches.cancel(done.id)
    with raises(openai.BadRequestError, "has results; give a file that was uploaded"):
        client.batches.create(
            input_file_id=done.output_file_id, endpoint="/v1/chat/completions", completion_window="24h"
        )


@check("POST /v1/batches", "every path of OpenAI's batches is asked")
def endpoints():
    for endpoint, body in (
        ("/v1/completions", {"model": FOX_MODEL, "prompt": "x", "max_tokens": 3}),
        ("/v1/responses", {"model": FOX_MODEL, "input": "hello"}),
        ("/v1/embeddings", {"model": EMBEDDING_MODEL, "input": ["one", "two"]}),
        ("/v1/decisions", {"model": TRIAGE_MODEL, "input": "x", "questions": [{"type": "predicate", "instructions": "?"}]}),
        ("/v1/systemone", {"state": "x", "model": TRIAGE_MODEL, "questions": {"q": {"type": "noul", "instructions": "?"}}}),
    ):
        file = upload([line("only", endpoint, **body)])
        extra = {"input_file_id": file.id, "completion_window": "24h"}
        done = ended(client.batches.create(endpoint=typing.cast(typing.Any, endpoint), **extra))
        equal((endpoint, done.status, done.error_file_id), (endpoint, "completed", None))
        row = results(done.output_file_id)["only"]
        if endpoint == "/v1/embeddings":
            equal(type(ResultLine.model_validate(row).response.body), VectorAnswer)
        if endpoint == "/v1/systemone":
            assert 0 <= row["response"]["body"]["answers"]["q"]["noul"] <= 1, row


@check("POST /v1/batches", "a file with wrong lines fails before anything is asked")
def wrong_lines():
    good = chat("a", DOUBLE_CHARGE)
    file = upload([good, "{", good, line("b", "/v1/embeddings", model="m", input="x")])
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    done = ended(batch)
    equal((done.status, done.output_file_id, done.error_file_id), ("failed", None, None))
    equal([(one.line, one.code) for one in done.errors.data],
          [(2, "invalid_json_line"), (3, "duplicate_custom_id"), (4, "mismatched_url")])
    equal(done.errors.data[1].message, "the `custom_id` `a` is also that of line 1; give every request its own")
    empty = upload(["", " "])
    done = ended(client.batches.create(input_file_id=empty.id, endpoint="/v1/responses", completion_window="24h"))
    equal((done.status, done.errors.data[0].message), ("failed", "the file has no requests"))


@check("POST /v1/batches", "what cannot be begun is refused")
def wrong_batches():
    file = upload([chat("a", "x")])
    for more, said in (
        ({"input_file_id": "file-none"}, "there is no file `file-none`"),
        ({"endpoint": "/v1/moderations"}, "`endpoint` is `/v1/moderations`, which a batch cannot ask; give `/v1/chat"),
        ({"completion_window": "soon"}, "`completion_window` is `soon`; give `24h`, or another from `1h` to `30d`"),
        ({"completion_window": "31d"}, "`completion_window` is `31d`"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "`metadata` has at most 16 keys"),
    ):
        asked = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
        with raises(openai.APIStatusError, said):
            client.batches.create(**asked)
    with raises(openai.NotFoundError, "there is no batch `batch_none`"):
        client.batches.retrieve("batch_none")


@check("POST /v1/batches/{id}/cancel", "a batch is cancelled and keeps its results; live requests come first")
def cancel():
    file = upload([chat(f"c{n}", f"{DOUBLE_CHARGE} {'again ' * (n % 50)} {n}") for n in range(5000)])
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    while client.batches.retrieve(batch.id).request_counts.completed < 5:
        time.sleep(0.02)
    live = client.chat.completions.create(model=TRIAGE_MODEL, messages=[{"role": "user", "content": "hello"}])
    assert live.choices[0].message.content, live
    with raises(openai.BadRequestError, f"`{file.id}` is needed by the batch `{batch.id}`, which is in_progress"):
        client.files.delete(file.id)
    assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    done = ended(batch)
    equal(done.status, "cancelled")
    assert done.cancelling_at <= done.cancelled_at, done
    rows = results(done.output_file_id)
    equal((len(rows), done.request_counts.total), (done.request_counts.completed, 5000))
    assert 5 <= len(rows) < 5000, len(rows)
    equal(client.files.delete(file.id).deleted, True)


@check("POST /v1/systemone/batches", "many states are asked the same questions")
def systemone():
    states = [{"id": "one", "state": DOUBLE_CHARGE}, {"id": "two", "state": {"text": "where is my parcel"}}]
    questions = {
        "refund": {"type": "noul", "instructions": "Does the customer want a refund?"},
        "team": {"type": "choice", "instructions": "Which team?", "criteria": {"billing": None, "shipping": None}},
    }
    url = f"{URL}/v1/systemone"
    asked = {"model": TRIAGE_MODEL, "questions": questions}
    reply = client.post(f"{url}/batches", cast_to=object, body={**asked, "states": states})
    equal([one["id"] for one in reply["results"]], ["one", "two"])
    for one, state in zip(reply["results"], states):
        alone = client.post(url, cast_to=object, body={**asked, "state": state["state"]})
        equal((one["answers"], reply["evaluation_id"]), (alone["answers"], alone["evaluation_id"]))
    many = [{"id": str(n), "state": "x"} for n in range(513)]
    for wrong, said in (
        (many, "513 states with 2 questions each are 1026 answers: give 1 to 1024"),
        ([], "0 states"),
        ([states[0], states[0]], "`states[1].id` is `one`, which is also that of `states[0]`"),
    ):
        try:
            client.post(f"{url}/batches", cast_to=object, body={**asked, "states": wrong})
            raise AssertionError(f"{said} was not said")
        except openai.BadRequestError as error:
            assert said in error.response.json()["detail"], error.response.text
    long = [states[0], {"id": "long", "state": "word " * 20000}]
    reply = client.post(f"{url}/batches", cast_to=object, body={**asked, "states": long})
    assert "answers" in reply["results"][0] and "tokens" in reply["results"][1]["error"], reply["results"][1]


run("openai")
