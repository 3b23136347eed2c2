// The API as the page uses it: a key that stays in this tab, errors in the server's words, answers as they are written.

const KEY = "slm-key";
// The server answers small questions at once; a machine that takes longer is busy, and the page says so.
const PATIENCE_MS = 5000;

// The server's own refusal, in its words.
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export const keep = (key) => sessionStorage.setItem(KEY, key);

async function send(path, { body, headers, signal }) {
  const key = sessionStorage.getItem(KEY);
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers: { ...headers, ...(key && { authorization: `Bearer ${key}` }), ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
    signal,
  });
  if (response.ok) return response;
  if (response.status === 401) sessionStorage.removeItem(KEY);
  const text = await response.text();
  throw new Refused(response.status === 401 ? "a key is needed" : message(text), response.status);
}

function message(text) {
  try {
    const { error } = JSON.parse(text);
    return error?.message ?? error ?? text;
  } catch {
    return text; // Not JSON: what came is what is shown.
  }
}

// A small question and its answer.
export async function json(path, body) {
  return (await send(path, { body, signal: AbortSignal.timeout(PATIENCE_MS) })).json();
}

export function requestId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Asks a model; `piece` is called with each line of the answer, and the last line is given back.
export async function chat(body, { id, signal, piece }) {
  const response = await send("/api/chat", { body: { ...body, stream: true }, headers: { "x-request-id": id }, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Refused("the connection ended before the answer did");
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.filter(Boolean).map((line) => JSON.parse(line))) {
      if (line.error) throw new Refused(line.error);
      piece(line);
      if (line.done) return line;
    }
  }
}
