#!/usr/bin/env python3
"""The page at `/` in headless Chromium: what it shows, by keyboard alone, and as a screen reader is told."""

import contextlib
import json
import os
import tempfile
import urllib.request

import selenium
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from checks import EMBEDDING_MODEL, ENDLESS_MODEL, FOX, FOX_MODEL, TRIAGE_MODEL, URL, Skipped, check, equal, get, near, run

KEY = os.environ.get("SLM_PAGE_KEY")
PATIENCE_S = 20
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1000,1200""".split()


def browser(folder):
    options = webdriver.ChromeOptions()
    options.binary_location = os.environ.get("SLM_CHROMIUM", "/usr/bin/chromium")
    for flag in [*FLAGS, f"--user-data-dir={folder}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # With a driver that is named, selenium looks for none on the network.
    service = webdriver.ChromeService(os.environ.get("SLM_CHROMEDRIVER", "/usr/bin/chromedriver"))
    return webdriver.Chrome(options=options, service=service)


profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
driver = browser(profile.name)


def opened():
    """The page as it is when it has just been loaded and its models are listed."""
    driver.get(URL)
    driver.execute_script("sessionStorage.clear()")
    driver.get(URL)
    if not KEY:
        until(lambda: len(driver.find_elements(By.CSS_SELECTOR, "#model option")) > 0)


def until(condition):
    return WebDriverWait(driver, PATIENCE_S, 0.05).until(lambda _: condition())


def by_id(name):
    return driver.find_element(By.ID, name)


def focused():
    """What names the element that has the focus: its id, else its value in a group, else its text."""
    element = driver.switch_to.active_element
    return element.get_attribute("id") or element.get_attribute("value") or element.text


def press(*keys):
    ActionChains(driver).send_keys(*keys).perform()


def replace(name, text):
    """Writes a field anew, with the keyboard."""
    by_id(name).send_keys(Keys.CONTROL, "a")
    by_id(name).send_keys(text)


def paste(name, text):
    """Puts a long text into a field at once: ten thousand keys take a busy machine minutes."""
    driver.execute_script("arguments[0].value = arguments[1]", by_id(name), text)


def choose(model, kind=None):
    """Chooses a model, and the kind of its answers."""
    # Not by its letters: those of two models in a row are one word to a list.
    Select(by_id("model")).select_by_visible_text(f"{model}:latest")
    has_own = model == TRIAGE_MODEL
    until(lambda: by_id("kind-own").is_displayed() == has_own)
    if kind:
        driver.find_element(By.CSS_SELECTOR, f"input[name=kind][value={kind}]").click()


def said():
    return by_id("said").text


def ask():
    """Sends the question, and gives the answer's labels with their percentages when it is there."""
    by_id("send").send_keys(Keys.ENTER)
    until(lambda: not said().startswith("Asking") and not said().endswith("…"))
    return bars()


def bars():
    """The labels that are shown, with their percentages."""
    rows = driver.find_elements(By.CSS_SELECTOR, ".bars li")
    return [tuple(span.text for span in row.find_elements(By.XPATH, "./span[not(@aria-hidden)]")) for row in rows]


@contextlib.contextmanager
def network(**conditions):
    """The browser's way to the server is like this while the block runs."""
    driver.execute_cdp_cmd("Network.enable", {})
    usual = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**usual, **conditions})
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", usual)


@contextlib.contextmanager
def endless_answer():
    """Another client has the model's only place while the block runs."""
    body = json.dumps({"model": ENDLESS_MODEL, "messages": [{"role": "user", "content": "a"}]}).encode()
    headers = {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{URL}/api/chat", body, headers), timeout=PATIENCE_S) as response:
        response.readline()
        yield


def figures():
    """What has happened since the server's start, as the page tells it; nothing where it does not yet."""
    pairs = "return [...document.querySelectorAll('#figures div')].map(pair => [...pair.children].map(one => one.textContent))"
    return {name: int(value.replace(",", "")) for name, value in driver.execute_script(pairs)}


def accessible():
    """The nodes that a screen reader is given: role, name and what else is said of them."""
    driver.execute_cdp_cmd("Accessibility.enable", {})
    nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    known = [node for node in nodes if not node["ignored"]]
    return [(node["role"]["value"], node.get("name", {}).get("value", ""), node) for node in known]


def names(role):
    return [name for kind, name, _ in accessible() if kind == role]


def with_models():
    if KEY:
        raise Skipped("this server wants a key")
    opened()


@check("GET /", "the page in a browser: every model, what is loaded, the server's version, no word in the console")
def _():
    with_models()
    options = [option.text for option in driver.find_elements(By.CSS_SELECTOR, "#model option")]
    assert f"{TRIAGE_MODEL}:latest" in options, options
    until(lambda: "answering" in by_id("server").text)
    wrong = [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    equal(wrong, [])


@check("GET /", "nothing is fetched from anywhere else")
def _():
    with_models()
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]
    assert sent, "the browser told of no request"
    # What begins with `chrome:` is the browser's own first page.
    equal([url for url in sent if not url.startswith((f"{URL}/", "data:", "chrome:"))], [])


@check("GET /", "a question by keyboard alone: the skip link, every field in order, the answer as bars")
def _():
    with_models()
    press(Keys.TAB)
    equal(driver.switch_to.active_element.text, "Skip to the question")
    press(Keys.ENTER)
    equal(focused(), "ask")
    press(Keys.TAB)
    equal(focused(), "model")
    press(TRIAGE_MODEL)
    until(lambda: by_id("kind-own").is_displayed())
    order = []
    for _field in range(2):
        press(Keys.TAB)
        order.append(focused())
    equal(order, ["state", "own"])
    press(Keys.ARROW_DOWN)
    equal(focused(), "labels")
    order = []
    for _field in range(3):
        press(Keys.TAB)
        order.append(focused())
    equal(order, ["question", "choices", "send"])
    # Whoever uses the keyboard sees where they are.
    style = driver.execute_script("const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.boxShadow]")
    assert style[0] != "none" or style[1] != "none", style
    rows = ask()
    equal(sorted(label for label, _ in rows), ["billing", "other", "shipping", "technical"])
    shares = [float(share.removesuffix(" %")) for _, share in rows]
    near(sum(shares), 100, by=0.3)
    equal(shares, sorted(shares, reverse=True))
    width = "const t = document.querySelectorAll('.bars .track'); return [...t].map(t => t.firstChild.offsetWidth / t.offsetWidth)"
    for found, share in zip(driver.execute_script(width), shares, strict=True):
        near(found * 100, share, by=2)
    assert rows[0][0] in said()


@check("GET /", "a model with a format of its own is asked in it")
def _():
    with_models()
    choose(TRIAGE_MODEL)
    assert driver.find_element(By.CSS_SELECTOR, "input[value=own]").is_selected()
    assert "urgency (1 to 3)" in by_id("own-format").text, by_id("own-format").text
    assert not by_id("question").is_displayed() and not by_id("choices").is_displayed()
    ask()
    headings = [heading.text for heading in driver.find_elements(By.CSS_SELECTOR, "#fields h3")]
    equal(headings, ["queue", "urgency", "refund"])
    _, text = get("/openapi.json")
    assert said().startswith("queue billing: ") and "; refund false: " in said(), said()
    assert "/page/status" in text
    choose(FOX_MODEL)
    assert driver.find_element(By.CSS_SELECTOR, "input[value=labels]").is_selected()


@check("GET /", "the label mass is shown, and where it is under 1 % what that means")
def _():
    with_models()
    choose(TRIAGE_MODEL)
    ask()
    masses = [element.text for element in driver.find_elements(By.CSS_SELECTOR, ".mass")]
    assert len(masses) == 3 and all(text.startswith("Label mass ") for text in masses), masses
    assert not by_id("doubt").is_displayed()
    choose(TRIAGE_MODEL, "labels")
    replace("choices", "zebra crossing\nxylophone")
    ask()
    doubt = "This model wanted to say something else: all allowed answers together have "
    mass = driver.find_element(By.CSS_SELECTOR, ".mass").text.removeprefix("Label mass ")
    equal(by_id("doubt").text, f"{doubt}{mass} of its probability.")
    assert mass == "less than 0.01 %" or float(mass.removesuffix(" %")) < 1, mass
    # What is asked next is not doubted for it.
    replace("choices", "only")
    ask()
    assert not by_id("doubt").is_displayed()


@check("GET /", "text under a schema or a pattern, and any text, are written as they come")
def _():
    with_models()
    choose(TRIAGE_MODEL, "schema")
    ask()
    names = [element.text for element in driver.find_elements(By.CSS_SELECTOR, ".leaves dt")]
    equal(names, ["order", "problem", "refund"])
    written = json.loads(by_id("text").text)
    marked = [element.text for element in driver.find_elements(By.CSS_SELECTOR, ".leaves .mark")]
    missing = [value for value in (written["order"], written["problem"]) if value.strip() and value.lower() not in by_id("state").get_attribute("value").lower()]
    equal(marked, ["not in the text"] * len(missing))
    choose(TRIAGE_MODEL, "pattern")
    ask()
    assert by_id("text").text.isdigit(), by_id("text").text
    choose(FOX_MODEL, "text")
    equal(ask(), [])
    equal(by_id("text").text, FOX)
    assert "tokens written" in by_id("took").text


@check("GET /", "what is wrong with a schema is said here or by the server, beside no other answer")
def _():
    with_models()
    choose(TRIAGE_MODEL, "schema")
    ask()
    assert by_id("answer").is_displayed()
    paste("schema", "{")
    ask()
    assert said().startswith("The schema is not JSON: ") and not by_id("answer").is_displayed(), said()
    equal(focused(), "schema")
    paste("schema", '{"type": "strin"}')
    ask()
    assert "strin" in said() and not by_id("answer").is_displayed(), said()


@check("GET /", "a model that makes vectors says so instead of answering")
def _():
    with_models()
    choose(EMBEDDING_MODEL)
    until(lambda: "makes vectors" in said())
    assert not by_id("send").is_enabled()
    choose(FOX_MODEL)
    until(lambda: by_id("send").is_enabled())


@check("GET /", "an answer can be cancelled, and what was written stays")
def _():
    with_models()
    choose(ENDLESS_MODEL, "text")
    by_id("send").send_keys(Keys.ENTER)
    until(lambda: "abab" in by_id("text").text)
    until(lambda: said() == "Writing…")
    by_id("cancel").send_keys(Keys.ENTER)
    until(lambda: said() == "Cancelled.")
    assert "abab" in by_id("text").text and not by_id("cancel").is_displayed()
    equal(focused(), "send")
    until(lambda: "\nslm_queue_running 0\n" in get("/metrics")[1])


@check("GET /", "who waits for a place is told how many are before, and can go away")
def _():
    with_models()
    choose(ENDLESS_MODEL, "text")
    with endless_answer():
        by_id("send").send_keys(Keys.ENTER)
        until(lambda: said() == "Waiting for its turn: the next one…")
        until(lambda: by_id("elapsed").text.endswith(" s"))
        until(lambda: figures()["Waiting"] == 1)
        by_id("cancel").send_keys(Keys.ENTER)
        until(lambda: said() == "Cancelled.")
        assert not by_id("answer").is_displayed()
        until(lambda: figures()["Waiting"] == 0)


@check("GET /", "a server that is slow or gone is said to be so, beside no other answer")
def _():
    with_models()
    choose(TRIAGE_MODEL)
    ask()
    with network(latency=20000):
        by_id("send").send_keys(Keys.ENTER)
        until(lambda: "has not answered for 5 seconds" in said())
        assert not by_id("answer").is_displayed()
        by_id("cancel").send_keys(Keys.ENTER)
        until(lambda: said() == "Cancelled.")
    ask()
    with network(offline=True):
        ask()
        assert said().startswith("the server does not answer") and not bars(), said()
        until(lambda: "does not answer" in by_id("server").text)
    until(lambda: "answering" in by_id("server").text)


@check("GET /", "what was asked shows in the loaded models and in the figures, and what the page asks for itself does not")
def _():
    with_models()
    choose(TRIAGE_MODEL)
    before = until(figures)["Requests"]
    ask()
    until(lambda: f"{TRIAGE_MODEL}:latest" in by_id("loaded").text)
    until(lambda: figures()["Requests"] == before + 1)
    _, metrics = get("/metrics")
    counted = [line for line in metrics.splitlines() if line.startswith("slm_http_requests_total")]
    assert counted and not any("/page/" in line for line in counted), counted


@check("GET /", "a screen reader is given a title, landmarks, headings in order and a name for every control")
def _():
    with_models()
    choose(TRIAGE_MODEL, "labels")
    ask()
    equal(driver.title, "slm")
    equal(driver.find_element(By.TAG_NAME, "html").get_attribute("lang"), "en")
    roles = {role for role, _, _ in accessible()}
    assert {"main", "banner", "contentinfo", "region", "list", "table", "status"} <= roles, roles
    for role in ("button", "textbox", "combobox", "radio", "link", "region", "list"):
        assert names(role) and all(names(role)), (role, names(role))
    equal(names("button"), ["Ask"])
    equal([name.split(" one per line")[0] for name in names("textbox")], ["Text", "Question or instructions", "Labels"])
    equal(names("combobox"), ["Model"])
    assert "Answer" in names("group"), names("group")
    levels = [int(element.tag_name[1]) for element in driver.find_elements(By.CSS_SELECTOR, "h1, h2, h3") if element.is_displayed()]
    equal(levels[0], 1)
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:])), levels
    status = next(node for role, _, node in accessible() if role == "status")
    live = {entry["name"]: entry["value"].get("value") for entry in status["properties"]}
    equal(live["live"], "polite")
    # The bars are for eyes; ears are told the label and its share.
    items = [element.text.split("\n") for element in driver.find_elements(By.CSS_SELECTOR, ".bars li")]
    assert items and all(item[0] and item[-1].endswith("%") for item in items), items


@check("GET /", "one label is refused in words, and the focus goes to the field")
def _():
    with_models()
    choose(TRIAGE_MODEL, "labels")
    replace("choices", "only")
    equal(ask(), [])
    assert "two labels" in said()
    equal(focused(), "choices")
    replace("choices", "twice\ntwice: the same")
    equal(ask(), [])
    assert "“twice” is there twice" in said(), said()


@check("GET /", "the server's refusal is shown in its words, and the bars of the answer before are gone")
def _():
    with_models()
    choose(TRIAGE_MODEL, "labels")
    assert ask()
    paste("state", "x " * 5000)
    ask()
    assert "1024" in said() and not by_id("answer").is_displayed() and not bars(), said()


@check("GET /", "labels are text, whatever they look like")
def _():
    with_models()
    hostile = "<img src=x onerror=document.title='hacked'>"
    choose(TRIAGE_MODEL, "labels")
    replace("choices", f"{hostile}\nother")
    labels = [label for label, _ in ask()]
    assert hostile in labels, labels
    equal((driver.title, driver.find_elements(By.TAG_NAME, "img")), ("slm", []))


@check("GET /", "on a narrow screen nothing is cut off, whatever kind of answer is asked for")
def _():
    with_models()
    driver.set_window_size(360, 700)
    try:
        for kind in ("own", "labels", "schema", "pattern"):
            choose(TRIAGE_MODEL, kind)
            ask()
            wide = driver.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"with {kind} it is {wide} pixels too wide"
    finally:
        driver.set_window_size(1000, 1200)


@check("GET /", "a server with a key is asked after the key was given")
def _():
    if not KEY:
        raise Skipped("this server wants no key")
    opened()
    until(lambda: by_id("key").is_displayed())
    equal(names("button")[0], "Use this key")
    by_id("key-value").send_keys("wrong", Keys.ENTER)
    until(lambda: by_id("key-value").get_attribute("value") == "" and by_id("key").is_displayed())
    by_id("key-value").send_keys(KEY, Keys.ENTER)
    until(lambda: driver.find_elements(By.CSS_SELECTOR, "#model option"))
    assert not by_id("key").is_displayed()
    choose(TRIAGE_MODEL, "labels")
    equal(len(ask()), 4)
    equal(driver.execute_script("return [localStorage.length, document.cookie]"), [0, ""])


if __name__ == "__main__":
    try:
        print(f"client Chromium {driver.capabilities['browserVersion']}, selenium {selenium.__version__}", flush=True)
        run()
    finally:
        driver.quit()
        profile.cleanup()
