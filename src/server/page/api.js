"use strict";
// The server's API as this page uses it.

const kSampling = [  // name in the API, label, smallest, largest, step, what it does
  ["temperature", "Temperature", 0, 2, 0.05, "0 always takes the most likely token; higher is more varied."],
  ["top_p", "Top p", 0, 1, 0.05, "Only the most likely tokens that together have this probability."],
  ["top_k", "Top k", 0, 100000, 1, "Only so many of the most likely tokens; 0: all."],
  ["min_p", "Min p", 0, 1, 0.01, "Only tokens at least so likely, relative to the most likely one."],
  ["repetition_penalty", "Repetition penalty", 0.1, 10, 0.05, "Above 1 discourages what was written before."],
  ["max_tokens", "Most tokens", 1, 1000000, 1, "The answer ends there."],
  ["seed", "Seed", 0, 2147483647, 1, "The same seed gives the same answer, however busy the server is."],
];

class ApiError extends Error {
  constructor(status, message, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;  // seconds; 0 if the server does not say
  }
}

function headers(key) {
  const out = { "Content-Type": "application/json" };
  if (key) out.Authorization = "Bearer " + key;
  return out;
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached.", 0);
  }
  if (response.ok) return response;
  let message = "";
  try {
    message = errorMessage(await response.json());
  } catch {
    // A proxy may answer with a page of its own.
  }
  const retry = parseInt(response.headers.get("Retry-After"), 10);
  const text = message || `The server answered with status ${response.status}.`;
  throw new ApiError(response.status, text, retry > 0 ? Math.min(retry, 3600) : 0);
}

function errorMessage(body) {
  const error = body && body.error;
  return typeof error === "string" ? error : error && typeof error.message === "string" ? error.message : "";
}

// {id, context}: the model that is served; `context` is 0 if the server does not say.
async function fetchModel(key) {
  const body = await (await request("v1/models", { headers: headers(key) })).json();
  const model = Array.isArray(body.data) ? body.data[0] : null;
  if (!model || typeof model.id !== "string") throw new ApiError(0, "The server names no model.", 0);
  return { id: model.id, context: Number.isFinite(model.max_model_len) ? model.max_model_len : 0 };
}

function chatBody(model, conversation, messages) {
  const body = {
    model,
    messages: messages.map(({ role, content }) => ({ role, content })),
    stream: true,
    stream_options: { include_usage: true },
  };
  if (conversation.system.trim()) body.messages.unshift({ role: "system", content: conversation.system });
  for (const [name] of kSampling) {
    if (name in conversation.sampling) body[name] = conversation.sampling[name];
  }
  if (conversation.thinking) body.chat_template_kwargs = { enable_thinking: conversation.thinking === "on" };
  return body;
}

// The chunks of an answer, as they come. ApiError if the server refuses, or breaks off.
async function* streamChat(body, key, signal) {
  const response = await request("v1/chat/completions", {
    method: "POST", headers: headers(key), body: JSON.stringify(body), signal,
  });
  let done = false;
  for await (const data of serverSentEvents(response.body)) {
    if (data === "[DONE]") {
      done = true;
      break;
    }
    let chunk;
    try {
      chunk = JSON.parse(data);
    } catch {
      throw new ApiError(0, "The server sent what is not JSON.", 0);
    }
    if (chunk.error) throw new ApiError(chunk.error.code || 500, errorMessage(chunk) || "The answer failed.", 0);
    yield chunk;
  }
  if (!done) throw new ApiError(0, "The connection ended before the answer did.", 0);
}

async function* serverSentEvents(stream) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "", data = [];
  try {
    for (;;) {
      let part;
      try {
        part = await reader.read();
      } catch (error) {
        if (error.name === "AbortError") throw error;
        throw new ApiError(0, "The connection to the server broke.", 0);
      }
      if (part.done) return;
      const lines = (rest + decoder.decode(part.value, { stream: true })).split(/\r\n|\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length > 0) yield data.join("\n");
          data = [];
        } else if (line.startsWith("data:")) {
          data.push(line.slice(line[5] === " " ? 6 : 5));
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
