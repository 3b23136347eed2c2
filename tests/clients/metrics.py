#!/usr/bin/env python3
"""Prometheus's own parsers of both text formats read `/metrics`, and the figures are those of what was asked before."""

import time
import urllib.request

import ollama
import prometheus_client.openmetrics.parser
import prometheus_client.parser

from checks import ENDLESS_MODEL, FOX_MODEL, TRIAGE_MODEL, URL, check, equal, run

PARSERS = {
    "text/plain": prometheus_client.parser.text_string_to_metric_families,
    "application/openmetrics-text": prometheus_client.openmetrics.parser.text_string_to_metric_families,
}
client = ollama.Client(URL)
HELLO = [{"role": "user", "content": "hello"}]


def families(media_type="text/plain"):
    """All families by their names, of one of the two formats."""
    request = urllib.request.Request(f"{URL}/metrics", headers={"Accept": media_type})
    with urllib.request.urlopen(request, timeout=10) as response:
        equal(response.headers["content-type"].split(";")[0], media_type)
        text = response.read().decode()
    return {family.name: family for family in PARSERS[media_type](text)}


def value(name, **labels):
    """The sum of all samples of this name that have these labels."""
    samples = [sample for family in families().values() for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def after(name, action, **labels):
    """By how much a figure grows through an action."""
    before = value(name, **labels)
    action()
    return value(name, **labels) - before


@check("GET /metrics", "both formats hold the same families, each with a type, a help and the prefix")
def _():
    client.chat(FOX_MODEL, HELLO)
    plain, openly = families(), families("application/openmetrics-text")
    equal({name.removesuffix("_info") for name in plain}, {name.removesuffix("_info") for name in openly})
    for family in plain.values():
        assert family.name.startswith("slm_") and family.documentation and family.type != "unknown", family
    assert len(plain) >= 15, list(plain)


@check("GET /metrics", "buckets grow to the count")
def _():
    histograms = [family for family in families().values() if family.type == "histogram"]
    assert histograms
    for family in histograms:
        series = {}
        for sample in family.samples:
            labels = tuple(sorted((name, text) for name, text in sample.labels.items() if name != "le"))
            series.setdefault(labels, {}).setdefault(sample.name.removeprefix(family.name), []).append(sample.value)
        for kinds in series.values():
            equal(kinds["_bucket"], sorted(kinds["_bucket"]))
            equal(kinds["_bucket"][-1], kinds["_count"][0])


@check("GET /metrics", "requests are counted by route and status")
def _():
    chat = {"method": "POST", "route": "/api/chat"}
    equal(after("slm_http_requests_total", lambda: client.chat(FOX_MODEL, HELLO), **chat, status="200"), 1)

    def fails():
        try:
            client.chat("nowhere", HELLO)
        except ollama.ResponseError:
            pass

    equal(after("slm_http_requests_total", fails, **chat, status="404"), 1)


@check("GET /metrics", "tokens are counted as the answers say")
def _():
    client.chat(FOX_MODEL, HELLO)
    model = {"model": f"{FOX_MODEL}:latest"}
    answers = []
    decoded = after("slm_tokens_decoded_total", lambda: answers.append(client.chat(FOX_MODEL, HELLO)), **model)
    equal(decoded, answers[0].eval_count)
    prompt = answers[0].prompt_eval_count
    before = {name: value(name, **model) for name in ("slm_tokens_prefilled_total", "slm_tokens_reused_total")}
    client.chat(FOX_MODEL, HELLO)
    grown = {name: value(name, **model) - old for name, old in before.items()}
    equal(sum(grown.values()), prompt)
    assert grown["slm_tokens_reused_total"] > 0, grown


@check("GET /metrics", "loaded models are counted, with their memory")
def _():
    client.generate(FOX_MODEL)
    client.generate(TRIAGE_MODEL)
    equal(value("slm_models_loaded"), len(client.ps().models))
    assert value("slm_model_memory_bytes", model=f"{FOX_MODEL}:latest") > 0
    before = value("slm_model_unloads_total", reason="expired")
    client.generate(FOX_MODEL, keep_alive=0)
    # Its process ends behind the answer.
    deadline = time.monotonic() + 10
    while value("slm_model_unloads_total", reason="expired") != before + 1:
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.05)


@check("GET /metrics", "who leaves a stream is out of flight soon, and its tokens stop")
def _():
    stream = client.chat(ENDLESS_MODEL, HELLO, options={"num_predict": 100_000}, stream=True)
    next(stream)
    # This request and the one for the figures themselves.
    equal(value("slm_http_requests_in_flight"), 2)
    stream.close()
    deadline = time.monotonic() + 5
    while value("slm_http_requests_in_flight") > 1:
        assert time.monotonic() < deadline, "it is still in flight"
        time.sleep(0.05)
    time.sleep(0.3)
    decoded = value("slm_tokens_decoded_total", model=f"{ENDLESS_MODEL}:latest")
    time.sleep(0.3)
    equal(value("slm_tokens_decoded_total", model=f"{ENDLESS_MODEL}:latest"), decoded)


if __name__ == "__main__":
    run("prometheus_client", "ollama")
