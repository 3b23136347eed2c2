// What the page shows of the server: its models in memory, what it has done, and how far a request has come.

import { element } from "./answer.js";

const by = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const size = (bytes) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(1)} MB`);

function until(model) {
  if (model.answering) return "in use";
  const seconds = (new Date(model.expires_at) - Date.now()) / 1000;
  if (!model.expires_at || !(seconds < 1e8)) return "never";
  return seconds > 90 ? `${Math.round(seconds / 60)} minutes` : `${Math.max(0, Math.round(seconds))} seconds`;
}

function rows({ models, loading }) {
  const row = (cells) => {
    const made = element("tr");
    made.append(...cells.map((text) => element("td", text)));
    return made;
  };
  const here = models.map((model) =>
    row([model.name, size(model.size), number.format(model.context_length), number.format(model.answering), until(model)]));
  const coming = loading.map((name) => row([name, "loading…", "", "", ""]));
  if (here.length + coming.length) return [...here, ...coming];
  const none = element("tr");
  const cell = element("td", "None: a model is loaded when it is asked.");
  cell.colSpan = 5;
  none.append(cell);
  return [none];
}

export function show(status) {
  const { version, queue, totals } = status;
  by("server").textContent = `version ${version}, answering`;
  by("loaded").replaceChildren(...rows(status));
  const figures = [
    ["Requests", totals.requests], ["Waiting", queue.waiting], ["Tokens read", totals.evaluated],
    ["Cached tokens", totals.reused], ["Tokens written", totals.generated],
  ];
  by("figures").replaceChildren(...figures.map(([name, value]) => {
    const pair = element("div");
    pair.append(element("dt", name), element("dd", number.format(value)));
    return pair;
  }));
}

// How far a request for a model has come, in words; nothing where there is nothing new to say.
export function progress({ request, queue }, isWriting) {
  const others = queue.running > 1 ? `; the server works on ${number.format(queue.running - 1)} other requests too` : "";
  switch (request?.stage) {
    case "waiting":
      if (request.before === 0) return "Waiting for its turn: the next one…";
      return `Waiting for its turn: ${number.format(request.before)} ${request.before === 1 ? "request is" : "requests are"} before this one…`;
    case "loading": return "Loading the model…";
    case "answering": return isWriting ? "Writing…" : `The model reads the text${others}…`;
    default: return undefined;
  }
}
