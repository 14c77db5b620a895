"use strict";
// Conversations in the browser's local storage: an entry each, so that what one of them holds is all that is written while
// it grows, and that tabs do not undo each other's work. Whatever is read from there is checked.
//   conversation: {id, title, named, created, updated, system, sampling: {name: number}, thinking, messages}
//   message: {role, content, finish, error, stats: {promptTokens, cachedTokens, tokens, firstToken, seconds}}

const kConversationKey = "fptq.conversation.";
const kSelectedKey = "fptq.selected";
const kKeyKey = "fptq.key";

const store = {
  cache: new Map(),  // the conversations in use: one object each, whoever holds it
  failed: null,      // called with an error where nothing can be kept

  ids() {
    const ids = new Set(this.cache.keys());
    try {
      for (let i = 0; i < localStorage.length; ++i) {
        const key = localStorage.key(i);
        if (key.startsWith(kConversationKey)) ids.add(key.slice(kConversationKey.length));
      }
    } catch {
      // Without storage there are those in use.
    }
    return ids;
  },

  // The newest first.
  list() {
    const all = [...this.ids()].map((id) => this.load(id)).filter((c) => c && c.messages.length > 0);
    return all.sort((a, b) => b.updated - a.updated);
  },

  load(id) {
    if (this.cache.has(id)) return this.cache.get(id);
    const conversation = readConversation(id);
    if (conversation) this.cache.set(id, conversation);
    return conversation;
  },

  create(from) {
    const conversation = checkedConversation(crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2), {
      system: from && from.system, sampling: from && from.sampling, thinking: from && from.thinking,
    });
    this.cache.set(conversation.id, conversation);
    return conversation;
  },

  save(conversation) {
    if (!this.cache.has(conversation.id) || conversation.messages.length === 0) return;  // It may be deleted meanwhile.
    const { id, ...rest } = conversation;
    try {
      localStorage.setItem(kConversationKey + id, JSON.stringify(rest));
    } catch (error) {
      if (this.failed) this.failed(error);
    }
  },

  remove(id) {
    this.cache.delete(id);
    try {
      localStorage.removeItem(kConversationKey + id);
    } catch {
      // It was never kept.
    }
  },

  // Another tab has written or removed `key`: true if it was a conversation.
  changed(key, isBusy) {
    if (key !== null && !key.startsWith(kConversationKey)) return false;
    for (const id of key === null ? [...this.cache.keys()] : [key.slice(kConversationKey.length)]) {
      const old = this.cache.get(id);
      if (!old || isBusy(id)) continue;
      const read = readConversation(id);
      if (read) Object.assign(old, read);
      else if (old.messages.length > 0) this.cache.delete(id);
    }
    return true;
  },

  selected() {
    try {
      return sessionStorage.getItem(kSelectedKey) || localStorage.getItem(kSelectedKey);
    } catch {
      return null;
    }
  },

  select(id) {
    try {
      sessionStorage.setItem(kSelectedKey, id);
      localStorage.setItem(kSelectedKey, id);
    } catch {
      // The newest one is shown next time.
    }
  },

  key() {
    try {
      return sessionStorage.getItem(kKeyKey) || localStorage.getItem(kKeyKey) || this.keyInUse || "";
    } catch {
      return this.keyInUse || "";
    }
  },

  setKey(key, keep) {
    this.keyInUse = key;
    try {
      sessionStorage.removeItem(kKeyKey);
      localStorage.removeItem(kKeyKey);
      if (key) (keep ? localStorage : sessionStorage).setItem(kKeyKey, key);
    } catch {
      // It holds until the page is closed.
    }
  },
};

function readConversation(id) {
  try {
    const text = localStorage.getItem(kConversationKey + id);
    return text === null ? null : checkedConversation(id, JSON.parse(text));
  } catch {
    return null;
  }
}

function checkedConversation(id, value) {
  const text = (x) => (typeof x === "string" ? x : "");
  const number = (x, otherwise) => (Number.isFinite(x) ? x : otherwise);
  const object = (x) => (x && typeof x === "object" ? x : {});
  const messages = Array.isArray(value.messages) ? value.messages.map(object) : [];
  const numbers = (x) => Object.fromEntries(Object.entries(object(x)).filter(([, v]) => Number.isFinite(v)));
  return {
    id,
    title: text(value.title),
    named: value.named === true,
    created: number(value.created, Date.now()),
    updated: number(value.updated, Date.now()),
    system: text(value.system),
    sampling: numbers(value.sampling),
    thinking: text(value.thinking),
    messages: messages.filter((m) => m.role === "user" || m.role === "assistant").map((m) => ({
      role: m.role,
      content: text(m.content),
      finish: text(m.finish),
      error: text(m.error),
      stats: m.stats ? numbers(m.stats) : null,
    })),
  };
}
