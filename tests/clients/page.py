#!/usr/bin/env python3
"""The page at `/` in headless Chromium: what it shows, by keyboard alone, and as a screen reader is told."""

import json
import os
import tempfile

import selenium
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from checks import TRIAGE_MODEL, URL, Skipped, check, equal, near, run

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
    """What names the element that has the focus: its id, else its text."""
    element = driver.switch_to.active_element
    return element.get_attribute("id") or element.text


def press(*keys):
    ActionChains(driver).send_keys(*keys).perform()


def replace(name, text):
    """Writes a field anew, with the keyboard."""
    by_id(name).send_keys(Keys.CONTROL, "a")
    by_id(name).send_keys(text)


def paste(name, text):
    """Puts a long text into a field at once: ten thousand keys take a busy machine minutes."""
    driver.execute_script("arguments[0].value = arguments[1]", by_id(name), text)


def ask():
    """Sends the question, and gives the answer's labels with their percentages when it is there."""
    by_id("send").send_keys(Keys.ENTER)
    until(lambda: by_id("said").text not in ("", "Asking…"))
    rows = driver.find_elements(By.CSS_SELECTOR, "#bars li")
    return [tuple(span.text for span in row.find_elements(By.XPATH, "./span[not(@aria-hidden)]")) for row in rows]


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
    order = []
    for _field in range(5):
        press(Keys.TAB)
        order.append(focused())
    equal(order, ["model", "state", "question", "choices", "send"])
    # Whoever uses the keyboard sees where they are.
    style = driver.execute_script("const s = getComputedStyle(document.activeElement); return [s.outlineStyle, s.boxShadow]")
    assert style[0] != "none" or style[1] != "none", style
    by_id("model").send_keys(TRIAGE_MODEL)
    by_id("send").send_keys("")
    rows = ask()
    equal(sorted(label for label, _ in rows), ["billing", "other", "shipping", "technical"])
    shares = [float(share.removesuffix(" %")) for _, share in rows]
    near(sum(shares), 100, by=0.3)
    equal(shares, sorted(shares, reverse=True))
    width = "const t = document.querySelectorAll('#bars .track'); return [...t].map(t => t.firstChild.offsetWidth / t.offsetWidth)"
    for found, share in zip(driver.execute_script(width), shares, strict=True):
        near(found * 100, share, by=2)
    assert rows[0][0] in by_id("said").text


@check("GET /", "what was asked shows in the loaded models and in the figures, and what the page asks for itself does not")
def _():
    with_models()
    by_id("model").send_keys(TRIAGE_MODEL)
    before = until(figures)["Requests"]
    ask()
    until(lambda: f"{TRIAGE_MODEL}:latest" in by_id("loaded").text)
    until(lambda: figures()["Requests"] == before + 1)


@check("GET /", "a screen reader is given a title, landmarks, headings in order and a name for every control")
def _():
    with_models()
    by_id("model").send_keys(TRIAGE_MODEL)
    ask()
    equal(driver.title, "slm")
    equal(driver.find_element(By.TAG_NAME, "html").get_attribute("lang"), "en")
    roles = {role for role, _, _ in accessible()}
    assert {"main", "banner", "contentinfo", "region", "list", "table", "status"} <= roles, roles
    for role in ("button", "textbox", "combobox", "link", "region", "list"):
        assert names(role) and all(names(role)), (role, names(role))
    equal(names("button"), ["Ask"])
    equal([name.split(" one a line")[0] for name in names("textbox")], ["Text", "Question", "Choices"])
    equal(names("combobox"), ["Model"])
    levels = [int(element.tag_name[1]) for element in driver.find_elements(By.CSS_SELECTOR, "h1, h2, h3") if element.is_displayed()]
    equal(levels[0], 1)
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:])), levels
    status = next(node for role, _, node in accessible() if role == "status")
    live = {entry["name"]: entry["value"].get("value") for entry in status["properties"]}
    equal(live["live"], "polite")
    # The bars are for eyes; ears are told the label and its share.
    items = [element.text.split("\n") for element in driver.find_elements(By.CSS_SELECTOR, "#bars li")]
    assert all(item[0] and item[-1].endswith("%") for item in items), items


@check("GET /", "one choice is refused in words, and the focus goes to the field")
def _():
    with_models()
    replace("choices", "only")
    equal(ask(), [])
    assert "two choices" in by_id("said").text
    equal(focused(), "choices")


@check("GET /", "the server's refusal is shown in its words")
def _():
    with_models()
    paste("state", "x " * 5000)
    by_id("model").send_keys(TRIAGE_MODEL)
    ask()
    assert "1024" in by_id("said").text and not by_id("answer").is_displayed(), by_id("said").text


@check("GET /", "labels are text, whatever they look like")
def _():
    with_models()
    hostile = "<img src=x onerror=document.title='hacked'>"
    replace("choices", f"{hostile}\nother")
    by_id("model").send_keys(TRIAGE_MODEL)
    labels = [label for label, _ in ask()]
    assert hostile in labels, labels
    equal((driver.title, driver.find_elements(By.TAG_NAME, "img")), ("slm", []))


@check("GET /", "on a narrow screen nothing is cut off")
def _():
    with_models()
    driver.set_window_size(360, 700)
    by_id("model").send_keys(TRIAGE_MODEL)
    ask()
    wide = driver.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    driver.set_window_size(1000, 1200)
    assert wide <= 0, f"it is {wide} pixels too wide"


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
    by_id("model").send_keys(TRIAGE_MODEL)
    equal(len(ask()), 4)
    equal(driver.execute_script("return [localStorage.length, document.cookie]"), [0, ""])


if __name__ == "__main__":
    try:
        print(f"client Chromium {driver.capabilities['browserVersion']}, selenium {selenium.__version__}", flush=True)
        run()
    finally:
        driver.quit()
        profile.cleanup()
