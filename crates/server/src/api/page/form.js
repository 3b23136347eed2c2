// The question's form: which kind of answer is wanted, what it may be, and the request that says so.

const by = (id) => document.getElementById(id);

// What a person can correct, with the field to go to.
export class Mistake extends Error {
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

// Each kind keeps a question of its own: instructions for one mislead the others.
const questions = {
  labels: "Which team should handle this?",
  schema: "Extract the fields from the message.",
  pattern: "Give the number of the order.",
  text: "Answer the customer in two sentences.",
};
let shown = "labels";

export const kind = () => document.querySelector("input[name=kind]:checked").value;

export function choose(value) {
  document.querySelector(`input[name=kind][value=${value}]`).checked = true;
  show();
}

// Shows the fields of the chosen kind.
export function show() {
  if (shown in questions) questions[shown] = by("question").value;
  shown = kind();
  if (shown in questions) by("question").value = questions[shown];
  for (const part of document.querySelectorAll("[data-kinds]")) {
    part.hidden = !part.dataset.kinds.split(" ").includes(shown);
  }
}

export function begin() {
  by("question").value = questions.labels;
  for (const input of document.querySelectorAll("input[name=kind]")) input.addEventListener("change", show);
  show();
}

// What the chosen model says of its answers; `null` where it says nothing.
export function offerOwn(format) {
  by("kind-own").hidden = !format;
  by("own-format").textContent = format ? `This model answers with ${described(format)}.` : "";
  if (format) choose("own");
  else if (kind() === "own") choose("labels");
}

function described(format) {
  if (format === "json") return "a JSON object";
  const named = Object.entries(format.properties ?? {});
  if (named.length) return named.map(([name, schema]) => `${name} (${allowed(schema)})`).join(", ");
  return allowed(format);
}

// What a value may be, in a few words.
function allowed(schema) {
  const options = schema.enum ?? (schema.oneOf ?? schema.anyOf)?.map((one) => one.const).filter((one) => one !== undefined);
  if (options?.length) return options.slice(0, 8).join(", ") + (options.length > 8 ? ` and ${options.length - 8} more` : "");
  if (schema.type === "boolean") return "true or false";
  if (schema.minimum !== undefined && schema.maximum !== undefined) return `${schema.minimum} to ${schema.maximum}`;
  return { string: "text", integer: "a whole number", number: "a number", array: "a list" }[schema.type] ?? "JSON";
}

// The request for the form as it is filled in.
export function request() {
  const text = by("state").value;
  if (!text.trim()) throw new Mistake("Give a text.", "state");
  const question = kind() === "own" ? "" : by("question").value.trim();
  const messages = [...(question ? [{ role: "system", content: question }] : []), { role: "user", content: text }];
  const format = { own: () => undefined, labels, schema, pattern, text: () => undefined }[kind()]();
  return { model: by("model").value, messages, ...(format && { format }) };
}

function labels() {
  const lines = by("choices").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const found = lines.map((line) => {
    const at = line.indexOf(":");
    return at > 0 ? [line.slice(0, at).trim(), line.slice(at + 1).trim()] : [line, ""];
  });
  if (found.length < 2) throw new Mistake("Give at least two labels, one per line.", "choices");
  const names = found.map(([name]) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new Mistake(`The label “${twice}” is there twice.`, "choices");
  return { oneOf: found.map(([name, means]) => ({ const: name, ...(means && { description: means }) })) };
}

function schema() {
  let value;
  try {
    value = JSON.parse(by("schema").value);
  } catch (error) {
    throw new Mistake(`The schema is not JSON: ${error.message}`, "schema");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Mistake("The schema is not a JSON object.", "schema");
  return value;
}

function pattern() {
  const text = by("pattern").value;
  if (!text) throw new Mistake("Give a regular expression.", "pattern");
  return { type: "string", pattern: `^(?:${text})$` };
}
