// What the page does: it asks the same API as every other client, and writes what comes as text, never as HTML.

const by = (id) => document.getElementById(id);
const KEY = "slm-key";

class Refused extends Error {}

async function call(path, body) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...(key && { authorization: `Bearer ${key}` }), ...(body && { "content-type": "application/json" }) };
  const response = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  if (response.status === 401) {
    sessionStorage.removeItem(KEY);
    by("key").hidden = false;
    throw new Refused("a key is needed");
  }
  const text = await response.text();
  if (!response.ok) {
    let said = text;
    try {
      const { error } = JSON.parse(text);
      said = error?.message ?? error ?? text;
    } catch { /* it was no JSON: what came is what is shown */ }
    throw new Refused(said);
  }
  return text;
}

const json = async (path, body) => JSON.parse(await call(path, body));

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const number = new Intl.NumberFormat("en");
const percent = (p) => `${(p * 100).toFixed(p > 0.9995 || p < 0.0005 ? 2 : 1)} %`;
const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(1)} MB`);

function until(time) {
  if (!time) return "in use";
  const seconds = (new Date(time) - Date.now()) / 1000;
  if (!(seconds < 1e8)) return "for ever";
  return seconds > 90 ? `${Math.round(seconds / 60)} minutes` : `${Math.max(0, Math.round(seconds))} seconds`;
}

async function showModels() {
  const { models } = await json("/api/tags");
  const select = by("model");
  const chosen = select.value;
  select.replaceChildren(...models.map(({ name }) => element("option", name)));
  if (models.some(({ name }) => name === chosen)) select.value = chosen;
}

async function showLoaded() {
  const { models } = await json("/api/ps");
  const row = (model) => {
    const made = element("tr");
    const cells = [model.name, size(model.size), number.format(model.context_length), until(model.expires_at)];
    made.append(...cells.map((text) => element("td", text)));
    return made;
  };
  const none = element("tr");
  const cell = element("td", "None: a model is loaded when it is asked.");
  cell.colSpan = 4;
  none.append(cell);
  by("loaded").replaceChildren(...(models.length ? models.map(row) : [none]));
}

// The sum of a metric over all its labels, in Prometheus' text format.
function total(metrics, name) {
  const line = new RegExp(`^${name}(?:\\{[^\\n]*\\})? ([0-9.eE+-]+)`, "gm");
  return [...metrics.matchAll(line)].reduce((sum, [, value]) => sum + Number(value), 0);
}

async function showFigures() {
  const metrics = await call("/metrics");
  const figures = [
    // Those of models: the page itself asks for figures all the time.
    ["Requests", "slm_queue_admitted_total"],
    ["Waiting", "slm_queue_depth"],
    ["Tokens read", "slm_tokens_prefilled_total"],
    ["Tokens read before", "slm_tokens_reused_total"],
    ["Tokens written", "slm_tokens_decoded_total"],
  ];
  const shown = figures.flatMap(([name, metric]) => [[name, number.format(total(metrics, metric))]]);
  by("figures").replaceChildren(...shown.map(([name, value]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", value));
    return pair;
  }));
}

async function refresh() {
  try {
    const { version } = await json("/api/version");
    await Promise.all([showLoaded(), showFigures()]);
    by("server").textContent = `version ${version}, answering`;
  } catch (error) {
    by("server").textContent = error instanceof Refused ? error.message : "the server does not answer";
  }
}

function choices() {
  const lines = by("choices").value.split("\n").map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(lines.map((line) => {
    const at = line.indexOf(":");
    return at > 0 ? [line.slice(0, at).trim(), line.slice(at + 1).trim() || null] : [line, null];
  }));
}

function say(text, className) {
  by("said").textContent = text;
  by("said").className = className ?? "";
}

function showAnswer({ answers: { question: answer }, usage, latency_ms: took }) {
  const sorted = Object.entries(answer.probabilities).sort(([, one], [, other]) => other - one);
  const row = ([label, p], place) => {
    const made = element("li", undefined, place === 0 ? "best" : "");
    const track = element("span", undefined, "track");
    const bar = element("span", undefined, "bar");
    track.setAttribute("aria-hidden", "true");
    bar.style.width = `${p * 100}%`;
    track.append(bar);
    made.append(element("span", label), track, element("span", percent(p), "p"));
    return made;
  };
  by("bars").replaceChildren(...sorted.map(row));
  by("answer").hidden = false;
  say(`${answer.choice}: ${percent(answer.probabilities[answer.choice])}`);
  by("took").textContent = `${took.toFixed(1)} ms, ${usage.input_tokens} tokens, confidence ${answer.confidence.toFixed(3)}`;
}

by("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const send = by("send");
  if (send.getAttribute("aria-disabled") === "true") return;
  const criteria = choices();
  if (Object.keys(criteria).length < 2) {
    say("Give at least two choices, one a line.", "error");
    by("choices").focus();
    return;
  }
  send.setAttribute("aria-disabled", "true");
  say("Asking…");
  try {
    const question = { type: "choice", instructions: by("question").value, criteria };
    showAnswer(await json("/v1/systemone", { model: by("model").value, state: by("state").value, questions: { question } }));
  } catch (error) {
    by("answer").hidden = true;
    say(error instanceof Refused ? error.message : "The server does not answer.", "error");
  } finally {
    send.setAttribute("aria-disabled", "false");
    refresh();
  }
});

by("key").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, by("key-value").value.trim());
  by("key-value").value = "";
  by("key").hidden = true;
  start();
});

async function start() {
  try {
    await showModels();
  } catch { /* refresh says why */ }
  await refresh();
}

start();
setInterval(() => { if (!document.hidden) refresh(); }, 3000);
