// The page: one question at a time, which can be cancelled, beside a look at the server every few seconds.

import * as answer from "./answer.js";
import { Refused, chat, json, keep, requestId } from "./api.js";
import * as form from "./form.js";
import * as server from "./server.js";

const by = (id) => document.getElementById(id);
const EVERY_MS = 3000;
const EVERY_MS_ASKING = 1000;

// The question that is being asked: its id, what cancels it, when it began, whether its answer has begun.
let asking = null;
let needsKey = false;
let timer;

function say(text, className = "") {
  if (by("said").textContent !== text) by("said").textContent = text;
  by("said").className = className;
}

// Where there is no answer: the server's own words, or that there is no server.
function reason(error) {
  if (error instanceof Refused) return error.message;
  if (error.name === "TimeoutError") return "the server has not answered for 5 seconds; the machine may be busy";
  return "the server does not answer; is `slm serve` still running?";
}

function askForKey(error) {
  needsKey = error instanceof Refused && error.status === 401;
  if (needsKey) by("key").hidden = false;
}

async function look() {
  clearTimeout(timer);
  if (!document.hidden && !needsKey) {
    const asked = asking;
    try {
      const status = await json(asked ? `/page/status?request=${asked.id}` : "/page/status");
      server.show(status);
      if (by("model").options.length === 0) await listModels();
      const words = asking && asking === asked && server.progress(status, asked.isWriting);
      if (words) say(words);
    } catch (error) {
      askForKey(error);
      by("server").textContent = reason(error);
      if (asking && asking === asked) say(`Asking… ${reason(error)}`);
    }
  }
  clearTimeout(timer);
  timer = setTimeout(look, asking ? EVERY_MS_ASKING : EVERY_MS);
}

async function listModels() {
  const { models } = await json("/api/tags");
  by("model").replaceChildren(...models.map(({ name }) => answer.element("option", name)));
  // The newest model that answers, or else the newest.
  for (const { name } of models) {
    by("model").value = name;
    if (await chooseModel()) return;
  }
  by("model").selectedIndex = 0;
  await chooseModel();
}

// A model that was made for one form of answers is asked in it. Gives whether the chosen one answers at all.
async function chooseModel() {
  const name = by("model").value;
  if (!name) return false;
  let about = { format: null };
  let wrong = "";
  try {
    about = await json("/api/show", { model: name });
  } catch (error) {
    wrong = reason(error);
  }
  if (by("model").value !== name) return true;
  form.offerOwn(about.format ?? null);
  const isEmbedding = about.capabilities?.includes("embedding") && !about.capabilities.includes("completion");
  by("send").disabled = isEmbedding;
  if (isEmbedding) wrong = "This model makes vectors of texts and does not answer: choose another, or ask /api/embed.";
  if (!asking) say(wrong, wrong && "error");
  return !isEmbedding;
}

function elapsed() {
  const seconds = Math.floor((performance.now() - asking.began) / 1000);
  by("elapsed").textContent = seconds > 0 ? `${seconds} s` : "";
}

async function ask() {
  answer.clear();
  let request;
  try {
    request = form.request();
  } catch (mistake) {
    if (!(mistake instanceof form.Mistake)) throw mistake;
    say(mistake.message, "error");
    by(mistake.field).focus();
    return;
  }
  const controller = new AbortController();
  const own = { id: requestId(), controller, began: performance.now(), isWriting: false };
  asking = own;
  by("send").setAttribute("aria-disabled", "true");
  by("cancel").hidden = false;
  say("Asking…");
  const clock = setInterval(elapsed, 1000);
  clearTimeout(timer);
  timer = setTimeout(look, EVERY_MS_ASKING);
  let text = "";
  try {
    const piece = ({ message }) => {
      if (message?.thinking) own.isWriting = true;
      if (!message?.content) return;
      own.isWriting = true;
      text += message.content;
      answer.write(message.content);
    };
    const last = await chat(request, { id: own.id, signal: controller.signal, piece });
    const input = request.messages.at(-1).content;
    say(answer.show(last, { model: last.model, text, input }));
  } catch (error) {
    if (error.name === "AbortError") say("Cancelled.");
    else {
      answer.clear();
      askForKey(error);
      say(reason(error), "error");
    }
  } finally {
    asking = null;
    clearInterval(clock);
    by("elapsed").textContent = "";
    by("send").setAttribute("aria-disabled", "false");
    if (document.activeElement === by("cancel")) by("send").focus();
    by("cancel").hidden = true;
    look();
  }
}

by("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!asking && !by("send").disabled) ask();
});
by("cancel").addEventListener("click", () => asking?.controller.abort());
by("model").addEventListener("change", chooseModel);
by("key").addEventListener("submit", (event) => {
  event.preventDefault();
  keep(by("key-value").value.trim());
  by("key-value").value = "";
  by("key").hidden = true;
  needsKey = false;
  look();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });

form.begin();
look();
