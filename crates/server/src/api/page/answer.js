// An answer: bars for answers that were scored, text as it is written, and what it is worth. All of it is text, never HTML.

const by = (id) => document.getElementById(id);
// Below this part of its probability a model wanted to say something else.
const LITTLE_MASS = 0.01;
// Answers of one field that are shown at once.
const MAX_SHOWN = 12;

export function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const label = (value) => (typeof value === "string" ? value : JSON.stringify(value));
const percent = (p) => `${(p * 100).toFixed(p > 0.9995 || p < 0.0005 ? 2 : 1)} %`;
const number = new Intl.NumberFormat("en");

// Nothing is shown: what was asked before is not an answer to what is asked now.
export function clear() {
  by("answer").hidden = true;
  by("fields").replaceChildren();
  by("doubt").textContent = "";
  by("text").hidden = true;
  by("text").textContent = "";
  by("took").textContent = "";
}

// A piece of an answer that is being written.
export function write(text) {
  by("text").textContent += text;
  by("text").hidden = false;
  by("answer").hidden = false;
}

// The whole answer, from its last line; gives a sentence that says it. Who cannot see the bars is told doubts as well.
export function show(last, { model, text, input }) {
  const fields = last.slm?.fields ?? [];
  const closed = fields.length > 0;
  by("text").hidden = closed;
  by("fields").replaceChildren(...(closed ? scored(fields) : written(text, input)));
  by("took").textContent = figures(last, model);
  by("answer").hidden = false;
  const doubts = closed ? fields.filter((field) => field.label_mass < LITTLE_MASS) : [];
  by("doubt").textContent = doubts.map(doubt).join(" ");
  if (closed) return fields.map(sentence).join("; ");
  return last.done_reason === "length" ? "Unfinished: the limit of tokens was reached." : "Answered.";
}

const share = (field) => field.probabilities.find(({ value }) => label(value) === label(field.value))?.probability ?? 0;
const sentence = (field) => `${field.name ? `${field.name} ` : ""}${label(field.value)}: ${percent(share(field))}`;

function doubt({ name, label_mass: mass }) {
  const of = name ? ` for ${name}` : "";
  return `This model wanted to say something else${of}: all allowed answers together have ${ofAll(mass)} of its probability.`;
}

// A label mass, which may be tiny without being nothing.
const ofAll = (mass) => (mass < 0.00005 ? "less than 0.01 %" : mass < LITTLE_MASS ? `${(mass * 100).toFixed(2)} %` : percent(mass));

function scored(fields) {
  const note = "The label mass is what all allowed answers together have of the model's probability; the bars share it out.";
  return [...fields.flatMap(bars), element("p", note, "hint")];
}

// The allowed answers of one field, the likeliest first.
function bars(field) {
  const sorted = [...field.probabilities].sort((one, other) => other.probability - one.probability);
  const rows = sorted.map((option, place) => bar(option, place === 0));
  const list = element("ol", undefined, "bars");
  list.setAttribute("aria-label", field.name ?? "Probabilities");
  list.append(...rows.slice(0, MAX_SHOWN));
  const parts = [element("h3", field.name ?? "Probabilities"), list];
  if (rows.length > MAX_SHOWN) {
    const more = element("details");
    const rest = element("ol", undefined, "bars");
    rest.append(...rows.slice(MAX_SHOWN));
    more.append(element("summary", `${rows.length - MAX_SHOWN} more`), rest);
    parts.push(more);
  }
  return [...parts, element("p", `Label mass ${ofAll(field.label_mass)}`, "hint mass")];
}

function bar({ value, probability }, isBest) {
  const row = element("li", undefined, isBest ? "best" : "");
  const track = element("span", undefined, "track");
  const fill = element("span", undefined, "bar");
  track.setAttribute("aria-hidden", "true");
  fill.style.width = `${probability * 100}%`;
  track.append(fill);
  row.append(element("span", label(value)), track, element("span", percent(probability), "p"));
  return row;
}

// The fields of an answer in JSON, each with a mark where its value does not stand in the text.
function written(text, input) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return [];
  }
  if (typeof value === "string") {
    by("text").textContent = value;
    return [];
  }
  const leaves = [...leavesOf(value, "")];
  const missing = ([, leaf]) => ["string", "number"].includes(typeof leaf) && label(leaf).trim() && !stands(label(leaf), input);
  const list = element("dl", undefined, "leaves");
  for (const [name, leaf] of leaves) {
    const cell = element("dd", label(leaf));
    if (missing([name, leaf])) cell.append(" ", element("span", "not in the text", "mark"));
    const pair = element("div");
    pair.append(element("dt", name), cell);
    list.append(pair);
  }
  const note = "“Not in the text”: the model wrote this in its own words or made it up. Letter case and spaces do not count.";
  return [list, ...(leaves.some(missing) ? [element("p", note, "hint")] : [])];
}

function* leavesOf(value, name) {
  if (typeof value !== "object" || value === null) yield [name, value];
  else for (const [key, inner] of Object.entries(value)) yield* leavesOf(inner, name ? `${name}.${key}` : key);
}

function stands(value, input) {
  const plain = (text) => text.toLowerCase().replace(/\s+/gu, " ").trim();
  return plain(input).includes(plain(value));
}

function figures(last, model) {
  const seconds = (nanoseconds) => (nanoseconds >= 1e9 ? `${(nanoseconds / 1e9).toFixed(1)} s` : `${(nanoseconds / 1e6).toFixed(1)} ms`);
  const cached = last.slm?.reused_tokens ? `, ${number.format(last.slm.reused_tokens)} of them cached` : "";
  const parts = [model, seconds(last.total_duration), `${number.format(last.prompt_eval_count)} tokens read${cached}`];
  if (!last.slm?.fields?.length) parts.push(`${number.format(last.eval_count)} tokens written`);
  if (last.load_duration > 1e8) parts.push(`loaded in ${seconds(last.load_duration)}`);
  return parts.join(" · ");
}
