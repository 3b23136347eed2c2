"""Makes a clean text look typed by a person in a hurry: case, punctuation, typos, abbreviations; changes no digit."""

import re

NEIGHBOURS = {
    "q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl", "p": "ol",
    "a": "sqz", "s": "adwx", "d": "sfec", "f": "dgrv", "g": "fhtb", "h": "gjyn", "j": "hkum", "k": "jlim", "l": "kop",
    "z": "xas", "x": "zcsd", "c": "xvdf", "v": "cbfg", "b": "vngh", "n": "bmhj", "m": "njk",
}  # fmt: skip

SHORT = {
    "you": "u", "your": "ur", "are": "r", "please": "pls", "because": "cuz", "before": "b4", "to": "2", "for": "4",
    "thanks": "thx", "though": "tho", "through": "thru", "and": "n", "see": "c", "why": "y", "weeks": "wks",
    "message": "msg", "account": "acct", "password": "pw", "with": "w", "without": "w/o", "tomorrow": "tmrw",
    "people": "ppl", "something": "smth", "okay": "ok", "what": "wat", "gonna": "gona", "number": "nr", "delivery": "deliv",
    "don't": "dont", "can't": "cant", "this": "dis", "love": "luv", "your": "ur", "never": "nvr", "been": "bin", "be": "b",
}  # fmt: skip

MISSPELT = {
    "received": "recieved", "receive": "recieve", "address": "adress", "definitely": "definately", "cancelled": "canceled",
    "subscription": "subscribtion", "account": "acount", "password": "passwort", "access": "acess", "believe": "beleive",
    "separate": "seperate", "wrong": "worng", "their": "thier", "invoice": "invioce", "delivery": "delievery",
    "package": "packege", "immediately": "immediatly", "tomorrow": "tommorow", "which": "wich", "until": "untill",
    "really": "realy", "business": "buisness", "broken": "brocken", "doesn't": "doesnt", "because": "becuase",
    "payment": "paymant", "refund": "refound", "license": "licence", "arrived": "arived", "there": "their",
    "connection": "conection", "embarrassing": "embarassing", "necessary": "neccessary", "possible": "posible",
    "different": "diffrent", "customer": "costumer", "service": "servise", "twice": "twise", "charged": "chraged",
    "order": "oder", "tracking": "traking", "lawyer": "lawer", "website": "web site", "login": "log in", "too": "to",
}  # fmt: skip


def make_noisy(text, rng, synonyms):
    """One random person's way of typing `text`; most people type well, some do not.

    `synonyms` gives, for a word or a few, others that people use instead.
    """
    text = swap_synonyms(text, synonyms, rng)
    if rng.random() < 0.08:
        text = drop_small_words(text, rng)
    text = style(text, rng)
    if rng.random() < 0.12:
        text = replace_words(text, SHORT, rng, share=rng.choice([0.3, 0.8]))
    if rng.random() < 0.25:
        text = replace_words(text, MISSPELT, rng, share=0.5)
    if rng.random() < 0.4:
        text = add_typos(text, rng, rate=rng.choice([0.005, 0.01, 0.02, 0.04]))
    return text


def swap_synonyms(text, synonyms, rng):
    for word, others in synonyms.items():
        if word in text and rng.random() < 0.25:
            text = re.sub(rf"\b{word}\b", rng.choice(others), text, count=1)
    return text


def drop_small_words(text, rng):
    """Telegram style: articles, pronouns and forms of `to be` go missing."""
    return re.sub(r"\b(the|a|an|my|is|are|was|has|I|it|to|your|of) ", lambda m: "" if rng.random() < 0.6 else m[0], text)


def style(text, rng):
    """One habit of case and punctuation for the whole text."""
    kind = rng.random()
    if kind < 0.22:
        text = text.lower()
    elif kind < 0.27:
        text = text.upper()
    elif kind < 0.30:
        text = re.sub(r"\b[A-Za-z]{4,}\b", lambda m: m[0].upper() if rng.random() < 0.2 else m[0], text)
    if rng.random() < 0.12:
        text = re.sub(r"[.,!;:](?=\s|$)", "", text)
    elif rng.random() < 0.1:
        text = re.sub(r"[.](?=\s|$)", lambda _: rng.choice(["!", "!!", "...", "!!!", " .", ","]), text)
    if rng.random() < 0.2:
        text = text.rstrip(".")
    if rng.random() < 0.3:
        text = text.replace("'", rng.choice(["", "", "’", "´"]))
    return text


def replace_words(text, table, rng, share):
    def swap(match):
        word = table.get(match[0].lower())
        return word if word is not None and rng.random() < share else match[0]

    return re.sub(r"[A-Za-z']+", swap, text)


def add_typos(text, rng, rate):
    typed = []
    at = 0
    while at < len(text):
        char = text[at]
        if not char.isalpha() or rng.random() >= rate:
            typed.append(char)
        else:
            kind = rng.randrange(5)
            following = text[at + 1 : at + 2]
            if kind == 0:
                typed.append(char * 2)
            elif kind == 1 and following.isalpha():
                typed.append(following + char)
                at += 1
            elif kind == 2:
                near = rng.choice(NEIGHBOURS.get(char.lower(), char))
                typed.append(near.upper() if char.isupper() else near)
            elif kind == 3:
                typed.append(char + rng.choice(NEIGHBOURS.get(char.lower(), char)))
            # Kind 4 leaves the letter out.
        at += 1
    return "".join(typed)
