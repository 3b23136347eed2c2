"""Reads phrase files and expands their lines at random; knows nothing of queues or labels.

A file holds sections: a heading `= words of the heading`, then one phrase a line; `#` begins a comment line. In a phrase
`(a|b)` is a choice, `[a]` may be left out, `{name}` is a slot. A slot is a section `= name` of a slots file, or a value
that the caller makes (an order number, an amount). Choices and options nest.
"""

import re

TOKEN = re.compile(r"[()\[\]|]|\{[a-z_0-9]+\}|[^()\[\]|{}]+")


def read_sections(path):
    """The sections of a phrase file in order: (heading, parsed phrases)."""
    sections = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("= "):
            sections.append((line[2:].strip(), []))
        else:
            sections[-1][1].append(parse(line.strip(), f"{path.name}:{number}"))
    return sections


def parse(phrase, where):
    """A phrase as a list of parts: a string, ("slot", name) or ("choice", [list of parts, ...])."""
    tokens = TOKEN.findall(phrase)
    if "".join(tokens) != phrase:
        raise ValueError(f"{where}: stray brace in `{phrase}`")
    parts, rest = parse_sequence(tokens, 0, where)
    if rest != len(tokens):
        raise ValueError(f"{where}: `{tokens[rest]}` without an opening in `{phrase}`")
    return parts


def parse_sequence(tokens, at, where):
    parts = []
    while at < len(tokens) and tokens[at] not in ")]|":
        token = tokens[at]
        if token in "([":
            close = ")" if token == "(" else "]"
            choices = [] if token == "(" else [[]]
            while True:
                choice, at = parse_sequence(tokens, at + 1, where)
                choices.append(choice)
                if at >= len(tokens) or tokens[at] != "|":
                    break
            if at >= len(tokens) or tokens[at] != close:
                raise ValueError(f"{where}: `{token}` is not closed")
            parts.append(("choice", choices))
        elif token[0] == "{":
            parts.append(("slot", token[1:-1]))
        else:
            parts.append(token)
        at += 1
    return parts, at


def n_variants(parts, slots):
    """In how many ways a phrase can be written, a value that the caller makes counting as one."""
    count = 1
    for part in parts:
        if isinstance(part, tuple):
            kind, value = part
            count *= sum(n_variants(choice, slots) for choice in (slots.get(value, [[]]) if kind == "slot" else value))
    return count


def expand(parts, rng, fill):
    """One random text of a phrase; `fill(name)` gives the text of a slot."""
    text = []
    for part in parts:
        if isinstance(part, str):
            text.append(part)
        elif part[0] == "slot":
            text.append(fill(part[1]))
        else:
            choices = part[1]
            # An option is left out half of the time, however many ways it has of being there.
            if choices[0] == [] and len(choices) > 1 and rng.random() < 0.5:
                continue
            text.append(expand(rng.choice(choices[1:] if choices[0] == [] else choices), rng, fill))
    return "".join(text)


def tidy(text):
    """Removes the doubled and stranded spaces, and the doubled words, that choices and options leave behind."""
    text = re.sub(r" +", " ", text)
    text = re.sub(r"\b(\w+) \1\b", r"\1", text)
    return re.sub(r" ([,.!?;:])", r"\1", text).strip()
