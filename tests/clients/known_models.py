"""A hook of schemathesis: requests name a model that the server has, and ask for little, so that they get as far as an answer.

Without it a random model's name is nobody's, and no request comes further than that."""

import schemathesis

EMBEDDING_PATHS = ("/api/embed", "/api/embeddings", "/v1/embeddings")
# The fields of all dialects that say how long an answer may be.
LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@schemathesis.hook
def map_body(context, body):
    """A body with its model's name and its limits replaced, where it has them and they are of the right type."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return body
    path = context.operation.path
    known = {"model": "bert" if path in EMBEDDING_PATHS else "triage" if len(body) % 2 else "fox"}
    for name in LIMITS:
        if isinstance(body.get(name), int):
            known[name] = 1 + body[name] % 8
    options = body.get("options")
    if path in ("/api/generate", "/api/chat") and (options is None or isinstance(options, dict)):
        known["options"] = {**(options or {}), "num_predict": 4}
    return {**body, **known}
