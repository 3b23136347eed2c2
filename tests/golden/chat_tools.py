"""Renders conversations with tools as the transformers library does, with Jinja2 and its settings.

    python3 chat_tools.py [../../../shared/vectors/chat]

It writes chat_tools/rendered.json: for each template in chat_tools/ the renderings themselves, for those of other
people in the folder that is given their SHA-256 alone. Made with Jinja2 3.1.6.
"""

import hashlib
import json
import sys
from pathlib import Path

from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

OWN = Path(__file__).with_name("chat_tools")
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def refuse(message):
    raise TemplateError(message)


def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def render(source, conversation, variables):
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = {"%d %b %Y": "01 Jan 2025", "%B %d, %Y": "January 01, 2025"}.get
    template = environment.from_string(source)
    tools = conversation.get("tools") or None
    given = {"messages": conversation["messages"], "tools": tools, "documents": None, "add_generation_prompt": True}
    return template.render(**given, **TOKENS, **variables)


def cases(conversations):
    for name, conversation in conversations.items():
        yield name, conversation, {}
        yield name + ", no thinking", conversation, {"enable_thinking": False}


def main():
    conversations = json.loads((OWN / "conversations.json").read_text())
    others = [path for folder in sys.argv[1:] for path in sorted(Path(folder).glob("*.jinja"))]
    rendered = {}
    for path in [*sorted(OWN.glob("*.jinja")), *others]:
        of = rendered[path.stem] = {}
        for name, conversation, variables in cases(conversations):
            try:
                text = render(path.read_text(), conversation, variables)
            except TemplateError:
                # What a template refuses, slm asks it for in another shape, or passes the refusal on.
                continue
            own = path.parent == OWN
            of[name] = text if own else "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    (OWN / "rendered.json").write_text(json.dumps(rendered, indent=1, ensure_ascii=False) + "\n")


main()
