"""Random values that stand in tickets: order numbers, amounts, dates, numbers that are no orders, and gibberish."""

import string


def pick(rng, alphabet, low, high):
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(low, high)))


def digits(rng, low, high):
    return pick(rng, string.digits, low, high)


def letters(rng, low, high):
    return pick(rng, string.ascii_uppercase, low, high)


def order_number(rng):
    kind = rng.random()
    if kind < 0.55:
        return rng.choice("123456789") + digits(rng, 2, 8)
    if kind < 0.70:
        return letters(rng, 1, 3) + rng.choice(["-", "", "-"]) + digits(rng, 3, 7)
    if kind < 0.80:
        return digits(rng, 1, 4) + "-" + digits(rng, 3, 7)
    if kind < 0.86:
        return digits(rng, 3, 3) + "-" + digits(rng, 4, 7) + "-" + digits(rng, 2, 7)
    if kind < 0.92:
        return digits(rng, 3, 5) + rng.choice(["-", ""]) + letters(rng, 1, 2)
    return pick(rng, string.ascii_uppercase + string.digits, 5, 5) + rng.choice(string.digits)


def money(rng):
    amount = rng.choice([rng.randint(2, 99), rng.randint(10, 999), rng.randint(100, 9999)])
    cents = rng.choice(["", "", f".{rng.randint(0, 99):02}", ".99", ".00"])
    form = rng.choice(
        ["${}", "${}", "{}$", "€{}", "{} euros", "{} dollars", "£{}", "{} pounds", "{} EUR", "{} USD", "{}", "{} bucks", "{}€", "{} quid"]
    )
    return form.format(f"{amount}{cents}")


MONTHS = "January February March April May June July August September October November December".split()


def date(rng):
    day, month = rng.randint(1, 28), rng.randint(1, 12)
    name = MONTHS[month - 1]
    return rng.choice(
        [f"{day} {name}", f"{name} {day}", f"{day}.{month}.", f"{month}/{day}", f"{day}/{month}/2024", f"2025-{month:02}-{day:02}",
         f"the {day}th", f"{name[:3]} {day}", f"the {day}th of {name}"]
    )  # fmt: skip


def email(rng):
    user = pick(rng, string.ascii_lowercase, 3, 8) + rng.choice(["", ".", "_", "1"]) + pick(rng, string.ascii_lowercase, 2, 6)
    return user + "@" + rng.choice(["gmail.com", "yahoo.com", "outlook.com", "web.de", "company.com", "school.edu", "mail.org"])


def gibberish(rng):
    """Keys hit at random, or syllables that mean nothing."""
    if rng.random() < 0.5:
        return pick(rng, rng.choice(["asdfghjkl", "qwertyuiop", "zxcvbnm", "hjkl", string.ascii_lowercase]), 2, 12)
    syllables = ["ba", "bo", "flu", "gra", "ki", "lo", "mup", "ne", "pi", "qua", "ro", "shi", "ta", "um", "vo", "wob", "zi"]
    return "".join(rng.choice(syllables) for _ in range(rng.randint(1, 4)))


SMALL_NUMBERS = [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 18, 20, 24, 25, 30, 40, 50, 60, 80, 100, 200]
NUMBER_WORDS = "two three four five six seven eight nine ten twelve twenty thirty".split()

# What fills a slot of the same name in the phrase files.
VALUES = {
    "n": lambda rng: rng.choice(NUMBER_WORDS) if rng.random() < 0.25 else str(rng.choice(SMALL_NUMBERS)),
    "nn": lambda rng: f"{rng.randint(5, 25):02}",
    "money": money,
    "date": date,
    "phone": lambda rng: rng.choice(["+", "0", "(0", ""]) + digits(rng, 3, 5) + rng.choice([" ", "-", ""]) + digits(rng, 4, 7),
    "invoice": lambda rng: rng.choice(["INV-", "", "#", "RE", "C", "2024-", "CS", "R-"]) + digits(rng, 4, 8),
    "tracking": lambda rng: letters(rng, 1, 2) + digits(rng, 9, 14) + rng.choice(["", letters(rng, 2, 2)]),
    "errcode": lambda rng: rng.choice(["", "E", "0x", "ERR_", "F", "err ", "#", "E-"]) + digits(rng, 2, 4),
    "version": lambda rng: f"{rng.randint(1, 14)}.{rng.randint(0, 12)}",
    "code": lambda rng: letters(rng, 2, 6) + digits(rng, 2, 4),
    "code4": lambda rng: digits(rng, 4, 4),
    "zip": lambda rng: digits(rng, 5, 5),
    "email": email,
    "gibberish": gibberish,
}
