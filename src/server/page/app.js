"use strict";
// The page itself: which conversation is shown, and what its buttons and keys do. An answer goes on while another
// conversation is shown, so several can be written at once.

const $ = (id) => document.getElementById(id);
const kExamples = [
  "Explain how a hash map works, with a short example in Python.",
  "Write a haiku about the sea in winter.",
  "What should I see in Lisbon in two days? Answer with a table.",
];

const app = {
  model: null,            // {id, context}, once the server has answered
  current: null,          // the conversation that is shown
  views: new Map(),       // message -> its view
  answers: new Map(),     // conversation id -> {message, controller, saved}: what is being written
  follow: true,           // the end stays in view
  leaving: false,         // the page is being closed, which breaks answers off
};

// --- The server ----------------------------------------------------------------------------------

let retryTimer = 0;

async function connect() {
  clearTimeout(retryTimer);
  try {
    app.model = await fetchModel(store.key());
    setState("ready", app.model.id);
    showNotice("");
  } catch (error) {
    app.model = null;
    let wait = error.retryAfter || 3;
    if (error.status === 401) {
      setState("error", "API key needed");
      if (!$("key-dialog").open) askForKey(store.key() ? "The server does not accept this key." : "");
      return;  // until there is a key
    }
    if (error.status === 503) {
      setState("busy", "The model is loading…");
    } else {
      setState("error", "No connection");
      showNotice(`${error.message} Trying again…`);
    }
    retryTimer = setTimeout(connect, wait * 1000);
  }
  showWelcome();
}

function setState(state, text) {
  $("state").className = state;
  $("model").textContent = text;
  $("model").title = app.model && app.model.context ? `Context of ${app.model.context} tokens` : "";
  document.title = app.model ? `${app.model.id} · fptq` : "fptq";
}

function showNotice(text) {
  $("notice").textContent = text;
  $("notice").hidden = text === "";
}

function askForKey(reason) {
  $("key-reason").textContent = reason || "The server asks for an API key.";
  $("key").value = "";
  $("key-dialog").showModal();
  $("key").focus();
}

// --- Answers -------------------------------------------------------------------------------------

// Has the model write the message that follows those of the conversation.
async function answer(conversation) {
  if (app.answers.has(conversation.id)) return;
  const prompt = [...conversation.messages];
  const message = { role: "assistant", content: "", finish: "", error: "", stats: null };
  conversation.messages.push(message);
  const writing = { message, controller: new AbortController(), saved: performance.now() };
  app.answers.set(conversation.id, writing);
  message.finish = "interrupted";  // what it is if the page is closed now
  store.save(conversation);
  if (conversation === app.current) {
    showMessages();
    toEnd();
  }
  showList();
  updateComposer();
  announce("The model answers");
  try {
    await receive(conversation, prompt, writing);
    announce("The answer is complete");
  } catch (error) {
    if (app.leaving) {
      message.finish = "interrupted";
    } else if (error.name === "AbortError") {
      message.finish = "stopped";
      announce("Stopped");
    } else {
      message.finish = "error";
      message.error = explain(error);
      if (error.status === 401 && !$("key-dialog").open) askForKey(store.key() ? "The server does not accept this key." : "");
      if (error.status === 0) connect();
    }
  }
  app.answers.delete(conversation.id);
  conversation.updated = Date.now();
  store.save(conversation);
  if (conversation === app.current) {
    const view = app.views.get(message);
    if (view) view.update(false);
    if (app.follow) toEnd();
  }
  showList();
  updateComposer();
}

async function receive(conversation, prompt, writing) {
  const { message, controller } = writing;
  const begun = performance.now();
  let first = 0, last = 0, chunks = 0;
  message.stats = { chunks: 0, seconds: 0, tokens: 0, firstToken: -1, promptTokens: 0, cachedTokens: 0 };
  const body = chatBody(app.model ? app.model.id : "", conversation, prompt);
  for await (const chunk of streamChat(body, store.key(), controller.signal)) {
    const choice = chunk.choices && chunk.choices[0];
    const text = choice && choice.delta && choice.delta.content;
    if (typeof text === "string" && text !== "") {
      last = performance.now();
      if (!first) first = last;
      ++chunks;
      message.content += text;
      Object.assign(message.stats, { chunks, seconds: (last - first) / 1000, firstToken: (first - begun) / 1000 });
      scheduleUpdate(conversation, message);
      if (last - writing.saved > 1000) {
        writing.saved = last;
        store.save(conversation);
      }
    }
    if (choice && typeof choice.finish_reason === "string") message.finish = choice.finish_reason;
    if (chunk.usage) {
      const { prompt_tokens, completion_tokens, prompt_tokens_details } = chunk.usage;
      message.stats.tokens = completion_tokens || 0;
      message.stats.promptTokens = prompt_tokens || 0;
      message.stats.cachedTokens = (prompt_tokens_details && prompt_tokens_details.cached_tokens) || 0;
    }
  }
  if (message.finish === "interrupted") message.finish = "stop";
}

function explain(error) {
  if (!(error instanceof ApiError)) return `This page failed: ${error.message}`;
  const end = /[.!?]$/.test(error.message) ? "" : ".";
  const again = error.retryAfter ? `${end} Try again in ${error.retryAfter} s.` : "";
  if (error.status === 401) return "The server needs an API key, or does not accept this one.";
  if (error.status === 429) return `The server is busy: ${error.message}${again}`;
  if (error.status === 503) return `The server is not ready: ${error.message}${again}`;
  return error.message;
}

let frame = 0;
const changed = new Set();

// Draws what has come since the last picture, once a picture.
function scheduleUpdate(conversation, message) {
  if (conversation !== app.current) return;
  changed.add(message);
  if (frame) return;
  frame = requestAnimationFrame(() => {
    frame = 0;
    for (const one of changed) {
      const view = app.views.get(one);
      const writing = app.answers.get(app.current.id);
      if (view && writing && writing.message === one) view.update(true);
    }
    changed.clear();
    if (app.follow) toEnd();
  });
}

function stop() {
  const writing = app.answers.get(app.current.id);
  if (writing) writing.controller.abort();
}

function send(text) {
  const conversation = app.current;
  if (text.trim() === "" || app.answers.has(conversation.id)) return false;
  conversation.messages.push({ role: "user", content: text, finish: "", error: "", stats: null });
  if (!conversation.named && !conversation.title) conversation.title = titleOf(text);
  conversation.updated = Date.now();
  store.select(conversation.id);
  answer(conversation);
  return true;
}

function titleOf(text) {
  const line = text.trim().split("\n")[0];
  return line.length > 60 ? line.slice(0, 57).trimEnd() + "…" : line;
}

const actions = {
  // What a message said before is gone, and so is what followed a user's message.
  edit(message, text) {
    const { current } = app;
    if (app.answers.has(current.id)) return;
    message.content = text;
    if (message.role === "user") {
      current.messages.length = current.messages.indexOf(message) + 1;
      answer(current);
    } else {
      message.finish = message.error = "";
      message.stats = null;
      store.save(current);
      showMessages();
    }
  },
  retry(message) {
    const { current } = app;
    if (app.answers.has(current.id)) return;
    current.messages.length = current.messages.indexOf(message);
    answer(current);
  },
};

// --- Messages ------------------------------------------------------------------------------------

function showMessages() {
  const writing = app.answers.get(app.current.id);
  app.views.clear();
  $("messages").replaceChildren(...app.current.messages.map((message) => {
    const view = new MessageView(message, actions);
    if (writing && writing.message === message) view.update(true);
    app.views.set(message, view);
    return view.node;
  }));
  showWelcome();
}

function showWelcome() {
  $("welcome").hidden = app.current.messages.length > 0;
  $("welcome-model").textContent = app.model ? `${app.model.id} answers, on this server's CPU.` : "";
}

function toEnd() {
  $("scroller").scrollTop = $("scroller").scrollHeight;
}

function showConversation(conversation) {
  app.current = conversation;
  store.select(conversation.id);
  app.follow = true;
  showMessages();
  showList();
  updateComposer();
  toEnd();
}

// --- The list of conversations -------------------------------------------------------------------

function showList() {
  if (document.querySelector("#conversations input")) return;  // One is being renamed.
  $("conversations").replaceChildren(...store.list().map((conversation) => {
    const item = element("li", conversation === app.current ? "current" : "");
    const open = element("button", "open", conversation.title || "Untitled");
    open.type = "button";
    open.title = conversation.title;
    if (conversation === app.current) open.setAttribute("aria-current", "true");
    if (app.answers.has(conversation.id)) item.classList.add("writing");
    open.addEventListener("click", () => {
      showConversation(conversation);
      closeSidebar();
    });
    item.append(open, iconButton("edit", `Rename: ${conversation.title}`, () => rename(item, conversation)),
      iconButton("delete", `Delete: ${conversation.title}`, () => remove(conversation)));
    return item;
  }));
}

function rename(item, conversation) {
  const field = element("input");
  field.value = conversation.title;
  field.setAttribute("aria-label", "Name of the conversation");
  item.replaceChildren(field);
  field.select();
  let over = false;
  const end = (keep) => {
    if (over) return;
    over = true;
    const title = field.value.trim();
    if (keep && title) {
      conversation.title = title.slice(0, 200);
      conversation.named = true;
      store.save(conversation);
    }
    field.remove();
    showList();
  };
  field.addEventListener("blur", () => end(true));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") event.stopPropagation();
    if (event.key === "Enter" && !event.isComposing) end(true);
    if (event.key === "Escape") end(false);
  });
}

function remove(conversation) {
  confirmed(`Delete “${conversation.title}”?`, () => {
    const writing = app.answers.get(conversation.id);
    if (writing) writing.controller.abort();
    store.remove(conversation.id);
    if (conversation === app.current) showConversation(store.list()[0] || store.create(conversation));
    else showList();
  });
}

function confirmed(question, then) {
  const dialog = $("confirm");
  $("confirm-text").textContent = question;
  dialog.returnValue = "no";
  dialog.addEventListener("close", () => {
    if (dialog.returnValue === "yes") then();
  }, { once: true });
  dialog.showModal();
}

function openSidebar() {
  document.body.classList.add("sidebar-open");
  $("backdrop").hidden = false;
  $("open-sidebar").setAttribute("aria-expanded", "true");
  $("close-sidebar").focus();
}

function closeSidebar() {
  if (!document.body.classList.contains("sidebar-open")) return;
  document.body.classList.remove("sidebar-open");
  $("backdrop").hidden = true;
  $("open-sidebar").setAttribute("aria-expanded", "false");
  $("open-sidebar").focus();
}

function newConversation() {
  showConversation(store.create(app.current));
  closeSidebar();
  $("prompt").focus();
}

// --- Settings ------------------------------------------------------------------------------------

function buildSettings() {
  for (const [name, label, min, max, step, help] of kSampling) {
    const row = element("label", "row");
    row.title = help;
    row.htmlFor = "sampling-" + name;
    const input = element("input");
    Object.assign(input, { id: "sampling-" + name, type: "number", min, max, step: "any", placeholder: "default" });
    if (step === 1) input.step = 1;
    input.setAttribute("aria-describedby", "help-" + name);
    const text = element("span", "", label);
    const note = element("small", "", help);
    note.id = "help-" + name;
    text.append(note);
    row.append(text, input);
    input.addEventListener("input", () => {
      const value = input.value === "" ? NaN : Number(input.value);
      const wrong = input.value !== "" || input.validity.badInput ? !input.validity.valid : false;
      input.setAttribute("aria-invalid", String(wrong));
      if (Number.isFinite(value) && !wrong) app.current.sampling[name] = value;
      else delete app.current.sampling[name];
      settingsChanged();
    });
    $("sampling").append(row);
  }
  const row = element("label", "row");
  row.htmlFor = "thinking";
  const select = element("select");
  select.id = "thinking";
  for (const [value, text] of [["", "default"], ["on", "on"], ["off", "off"]]) select.append(new Option(text, value));
  const text = element("span", "", "Thinking");
  text.append(element("small", "", "For models whose template knows enable_thinking."));
  row.append(text, select);
  select.addEventListener("change", () => {
    app.current.thinking = select.value;
    settingsChanged();
  });
  $("sampling").append(row);
}

function settingsChanged() {
  store.save(app.current);
  const { system, sampling, thinking } = app.current;
  const isSet = system.trim() !== "" || Object.keys(sampling).length > 0 || thinking !== "";
  $("open-settings").classList.toggle("set", isSet);
}

function fillSettings() {
  $("system").value = app.current.system;
  for (const [name] of kSampling) {
    const input = $("sampling-" + name);
    input.value = name in app.current.sampling ? app.current.sampling[name] : "";
    input.setAttribute("aria-invalid", "false");
  }
  $("thinking").value = app.current.thinking;
  $("theme").value = storedTheme();
  $("key-state").textContent = store.key() ? "An API key is set" : "No API key";
}

// --- The composer --------------------------------------------------------------------------------

function updateComposer() {
  const writing = app.answers.has(app.current.id);
  $("send").hidden = writing;
  $("stop").hidden = !writing;
  $("send").disabled = $("prompt").value.trim() === "";
  settingsChanged();
}

function submitPrompt() {
  const prompt = $("prompt");
  app.follow = true;
  if (!send(prompt.value)) return;
  prompt.value = "";
  fit(prompt);
  updateComposer();
}

function listen() {
  const prompt = $("prompt");
  const on = (id, type, handler) => $(id).addEventListener(type, handler);
  on("composer", "submit", (event) => {
    event.preventDefault();
    submitPrompt();
  });
  prompt.addEventListener("input", () => {
    fit(prompt);
    updateComposer();
  });
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submitPrompt();
    } else if (event.key === "ArrowUp" && prompt.value === "") {
      const last = app.current.messages.findLast((message) => message.role === "user");
      if (last && !app.answers.has(app.current.id)) {
        event.preventDefault();
        app.views.get(last).edit();
      }
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if (document.body.classList.contains("sidebar-open")) closeSidebar();
    else stop();
  });
  on("stop", "click", stop);
  on("new", "click", newConversation);
  on("open-sidebar", "click", openSidebar);
  on("close-sidebar", "click", closeSidebar);
  on("backdrop", "click", closeSidebar);
  on("toggle-theme", "click", () => setTheme(isDark() ? "light" : "dark"));
  on("theme", "change", () => setTheme($("theme").value));
  on("open-settings", "click", () => {
    fillSettings();
    $("settings").showModal();
  });
  on("system", "input", () => {
    app.current.system = $("system").value;
    settingsChanged();
  });
  on("reset-settings", "click", () => {
    Object.assign(app.current, { system: "", sampling: {}, thinking: "" });
    fillSettings();
    settingsChanged();
  });
  on("change-key", "click", () => askForKey("It goes to this server alone, with each request. Leave it empty to send none."));
  on("key-form", "submit", () => {
    store.setKey($("key").value.trim(), $("keep-key").checked);
    fillSettings();
    connect();
  });
  on("cancel-key", "click", () => $("key-dialog").close());
  for (const dialog of document.querySelectorAll("dialog")) {  // What is outside of it closes it.
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close();
    });
  }
  on("scroller", "scroll", () => {
    const { scrollTop, scrollHeight, clientHeight } = $("scroller");
    app.follow = scrollHeight - scrollTop - clientHeight < 60;
    $("to-end").hidden = app.follow;
  });
  on("to-end", "click", () => {
    app.follow = true;
    toEnd();
  });
  addEventListener("pageshow", () => { app.leaving = false; });
  addEventListener("pagehide", () => {
    app.leaving = true;
    for (const id of app.answers.keys()) store.save(store.load(id));
  });
  addEventListener("storage", (event) => {
    if (event.key === kThemeKey) applyTheme(storedTheme());
    if (!store.changed(event.key, (id) => app.answers.has(id))) return;
    if (app.current.messages.length > 0 && !store.load(app.current.id)) {
      showConversation(store.list()[0] || store.create(null));
    } else if (!app.answers.has(app.current.id) && !document.querySelector(".editor")) {
      showMessages();
    }
    showList();
  });
}

function start() {
  store.failed = () => showNotice("The browser has no room left for conversations: delete some, or this one will be lost.");
  buildSettings();
  for (const example of kExamples) {
    const button = element("button", "", example);
    button.type = "button";
    button.addEventListener("click", () => send(example));
    $("examples").append(button);
  }
  listen();
  const selected = store.selected();
  showConversation((selected && store.load(selected)) || store.list()[0] || store.create(null));
  connect();
  if (matchMedia("(pointer: fine)").matches) $("prompt").focus();
}

start();
