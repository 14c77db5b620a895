"use strict";
// How messages look. A view is told of what is done with its message through `actions`: edit(message, text), retry(message).

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", "#icon-" + name);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

function iconButton(name, label, onClick) {
  const button = element("button", "icon");
  button.type = "button";
  button.title = label;
  button.setAttribute("aria-label", label);
  button.append(icon(name));
  button.addEventListener("click", onClick);
  return button;
}

function copyButton(label, text) {
  const button = iconButton("copy", label, async () => {
    const done = await copyText(text());
    button.replaceChildren(icon(done ? "check" : "close"));
    announce(done ? "Copied" : "The browser does not allow copying");
    setTimeout(() => button.replaceChildren(icon("copy")), 1500);
  });
  return button;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Where the page came over plain HTTP from another machine there is no clipboard but this one.
    const field = element("textarea", "unseen");
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

// Thoughts before the answer, which reasoning models put between <think> and </think>.
function splitThoughts(content) {
  const found = /^\s*<think>/.exec(content);
  if (!found) return { thoughts: "", answer: content, open: false };
  const from = found[0].length, to = content.indexOf("</think>", from);
  if (to === -1) return { thoughts: content.slice(from), answer: "", open: true };
  return { thoughts: content.slice(from, to), answer: content.slice(to + 8), open: false };
}

function statsItems(stats) {
  const items = [];
  const number = (x, digits) => x.toLocaleString("en", { maximumFractionDigits: digits });
  const add = (text, title) => items.push([text, title]);
  // An answer that was broken off has no usage; its chunks have a token or so each.
  const about = stats.tokens > 0 ? "" : "about ";
  const tokens = stats.tokens || stats.chunks || 0;
  if (tokens > 0) add(`${about}${number(tokens, 0)} ${tokens === 1 ? "token" : "tokens"}`, "Length of the answer");
  const rate = tokens > 1 && stats.seconds > 0 ? (tokens - 1) / stats.seconds : 0;
  if (rate > 0) add(`${number(rate, rate < 100 ? 1 : 0)} tokens/s`, "Speed after the first token");
  if (stats.firstToken >= 0) {
    const wait = stats.firstToken;
    add(`first after ${wait < 1 ? number(wait * 1000, 0) + " ms" : number(wait, 1) + " s"}`, "Time to the first token");
  }
  if (stats.promptTokens > 0) {
    const cached = stats.cachedTokens || 0;
    const share = cached > 0 ? `, ${number(cached, 0)} from the cache` : "";
    add(`${number(stats.promptTokens, 0)} read${share}`, "Tokens of the prompt; those in the cache of prefixes need no computing");
  }
  return items;
}

const kFinishNotes = {
  length: "Cut off at the limit of tokens",
  stopped: "Stopped",
  interrupted: "Interrupted: the page was closed",
};

class MessageView {
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    const user = message.role === "user";
    this.node = element("article", "message " + message.role);
    this.node.setAttribute("aria-label", user ? "You" : "The model");
    this.body = element("div", "body");
    this.foot = element("div", "foot");
    this.node.append(this.body, this.foot);
    if (!user) {
      this.thoughts = element("details", "thoughts");
      this.thoughtsTitle = element("summary");
      const text = element("div", "markdown");
      this.thoughts.append(this.thoughtsTitle, text);
      this.thoughtsView = new MarkdownView(text);
      this.answer = element("div", "markdown");
      this.answerView = new MarkdownView(this.answer);
      this.body.append(this.thoughts, this.answer);
    }
    this.update(false);
  }

  // `streaming`: the answer is being written.
  update(streaming) {
    const { message } = this;
    if (message.role === "user") {
      this.body.textContent = message.content;
    } else {
      const { thoughts, answer, open } = splitThoughts(message.content);
      this.thoughts.hidden = thoughts.trim() === "";
      this.thoughtsTitle.textContent = open && streaming ? "Thinking…" : "Thoughts";
      if (open && streaming && !this.thoughtsShown) this.thoughts.open = this.thoughtsShown = true;
      if (!open && this.thoughtsShown) this.thoughts.open = this.thoughtsShown = false;
      this.thoughtsView.update(thoughts);
      this.answerView.update(answer);
      this.node.classList.toggle("streaming", streaming);
      this.node.classList.toggle("waiting", streaming && message.content === "");
    }
    if (streaming !== this.streaming || !streaming) this.updateFoot(streaming);
    this.streaming = streaming;
    if (streaming && this.live) this.live.textContent = liveText(message.stats);
  }

  updateFoot(streaming) {
    const { message, actions } = this;
    this.foot.replaceChildren();
    this.live = null;
    if (streaming) {
      this.live = element("span", "stats");
      this.foot.append(this.live);
      return;
    }
    if (message.error) this.foot.append(this.errorCard());
    const buttons = element("div", "buttons");
    if (message.content) {
      buttons.append(copyButton("Copy the message", () => message.content));
      buttons.append(iconButton("edit", "Edit the message", () => this.edit()));
    }
    if (message.role === "assistant") {
      if (!message.error) buttons.append(iconButton("retry", "Answer again", () => actions.retry(message)));
      const stats = element("span", "stats");
      if (kFinishNotes[message.finish]) stats.append(element("span", "finish", kFinishNotes[message.finish]));
      for (const [text, title] of message.stats ? statsItems(message.stats) : []) {
        const item = element("span", "", text);
        item.title = title;
        stats.append(item);
      }
      this.foot.append(stats);
    }
    this.foot.append(buttons);
  }

  errorCard() {
    const card = element("div", "error");
    card.setAttribute("role", "alert");
    card.append(element("span", "", this.message.error));
    const again = element("button", "", "Try again");
    again.type = "button";
    again.addEventListener("click", () => this.actions.retry(this.message));
    card.append(again);
    return card;
  }

  edit() {
    if (this.streaming || this.node.querySelector(".editor")) return;
    const { message } = this;
    const form = element("form", "editor");
    const field = element("textarea");
    field.rows = 1;
    field.value = message.content;
    field.setAttribute("aria-label", "Text of the message");
    const actions = element("div", "actions");
    const cancel = element("button", "", "Cancel");
    cancel.type = "button";
    const save = element("button", "primary", message.role === "user" ? "Send" : "Save");
    actions.append(cancel, save);
    form.append(field, actions);
    const close = () => {
      form.remove();
      this.body.hidden = this.foot.hidden = false;
    };
    cancel.addEventListener("click", close);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = field.value;
      if (text.trim() === "") return;
      close();
      this.actions.edit(message, text);
    });
    field.addEventListener("input", () => fit(field));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        close();
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && message.role === "user") {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    this.body.hidden = this.foot.hidden = true;
    this.node.append(form);
    fit(field);
    field.focus();
  }
}

// What is known of an answer while it is written: a chunk of the stream has a token or so.
function liveText(stats) {
  if (!stats || !(stats.chunks > 0)) return "";
  const rate = stats.seconds > 0.2 ? `, about ${Math.round(stats.chunks / stats.seconds)} tokens/s` : "";
  return `${stats.chunks} tokens${rate}`;
}

// As high as its text, which CSS limits.
function fit(field) {
  field.style.height = "auto";
  field.style.height = field.scrollHeight + 2 + "px";
}

function announce(text) {
  document.getElementById("announcer").textContent = text;
}
