"use strict";
// Markdown as models write it, to DOM nodes. The text is a stranger's: it only ever becomes text nodes, elements of the fixed
// list below and links to http, https and mailto. Nothing of it is loaded, so images are links. Text that is not finished
// yet is rendered as far as it goes, and all work is linear in the text but for small bounded searches.

const kMaxNesting = 10;     // of quotes, lists and emphasis; deeper text stays as it is
const kMaxLinkText = 1000;  // characters that are searched for the end of a link's text
const kMaxLinkUrl = 2000;

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// --- Blocks --------------------------------------------------------------------------------------

const kFence = /^ {0,3}(`{3,}|~{3,})(.*)$/;
const kHeading = /^ {0,3}(#{1,6})(?:[ \t]+(.*))?$/;
const kRule = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const kQuote = /^ {0,3}> ?/;
const kItem = /^( *)([-*+]|\d{1,9}[.)])(?: +|$)/;
const kTableRule = /^[ \t|:-]+$/;

function isBlank(line) {
  return line.trim() === "";
}

function openFence(line) {
  const found = kFence.exec(line);
  return found && !(found[1][0] === "`" && found[2].includes("`")) ? found : null;
}

function isTable(lines, at) {
  const rule = lines[at + 1];
  return lines[at].includes("|") && rule !== undefined && rule.includes("-") && rule.includes("|") &&
    kTableRule.test(rule);
}

function beginsBlock(lines, at) {
  const line = lines[at];
  return isBlank(line) || openFence(line) || kHeading.test(line) || kRule.test(line) ||
    kQuote.test(line) || kItem.test(line) || isTable(lines, at);
}

// The blocks of some lines: {kind, from, to, ...}, where `from` and `to` are lines.
function parseBlocks(lines) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (isBlank(lines[at])) {
      ++at;
      continue;
    }
    const block = parseBlock(lines, at);
    block.from = at;
    at = block.to;
    blocks.push(block);
  }
  return blocks;
}

function parseBlock(lines, at) {
  const line = lines[at];
  const fence = openFence(line);
  if (fence) return parseFence(lines, at, fence);
  const heading = kHeading.exec(line);
  if (heading) {
    const text = (heading[2] || "").trim();
    return { kind: "heading", to: at + 1, level: heading[1].length, text: text.replace(/ #{1,6}$/, "") };
  }
  if (kRule.test(line)) return { kind: "rule", to: at + 1 };
  if (kQuote.test(line)) {
    let to = at;
    while (to < lines.length && kQuote.test(lines[to])) ++to;
    return { kind: "quote", to, lines: lines.slice(at, to).map((l) => l.replace(kQuote, "")) };
  }
  if (kItem.test(line)) return parseList(lines, at);
  if (isTable(lines, at)) {
    let to = at + 2;
    while (to < lines.length && lines[to].includes("|") && !isBlank(lines[to])) ++to;
    return { kind: "table", to, rows: [lines[at], ...lines.slice(at + 2, to)], rule: lines[at + 1] };
  }
  let to = at + 1;
  while (to < lines.length && !beginsBlock(lines, to)) ++to;
  return { kind: "paragraph", to, text: lines.slice(at, to).join("\n") };
}

function parseFence(lines, at, fence) {
  const mark = fence[1];
  const indent = lines[at].length - lines[at].trimStart().length;
  let to = at + 1;
  while (to < lines.length) {
    const end = /^ {0,3}(`{3,}|~{3,})[ \t]*$/.exec(lines[to]);
    if (end && end[1][0] === mark[0] && end[1].length >= mark.length) break;
    ++to;
  }
  const strip = (line) => line.slice(Math.min(indent, line.length - line.trimStart().length));
  const code = lines.slice(at + 1, to).map(strip).join("\n");
  const language = fence[2].trim().split(/\s/)[0].slice(0, 30);
  return { kind: "code", to: Math.min(to + 1, lines.length), code, language };
}

// Items are as deep as their text is indented; what follows belongs to an item while it is indented as far.
function parseList(lines, at) {
  const first = kItem.exec(lines[at]);
  const ordered = /\d/.test(first[2]);
  const items = [];
  let loose = false;
  while (at < lines.length) {
    const found = kItem.exec(lines[at]);
    if (!found || /\d/.test(found[2]) !== ordered || found[1].length > first[1].length + 3) break;
    if (kRule.test(lines[at])) break;
    const width = Math.min(found[0].length, found[1].length + found[2].length + 4);
    const item = [lines[at].slice(width)];
    let to = at + 1;
    while (to < lines.length) {
      const line = lines[to];
      const indent = line.length - line.trimStart().length;
      if (isBlank(line)) {
        const next = lines[to + 1];
        if (next === undefined || isBlank(next) || next.length - next.trimStart().length < found[1].length + 2) break;
      } else if (indent < Math.min(width, found[1].length + 2) && beginsBlock(lines, to)) {
        break;
      } else if (indent <= found[1].length && isBlank(lines[to - 1])) {
        break;
      }
      item.push(line.slice(Math.min(width, indent)));
      ++to;
    }
    items.push(item);
    at = to;
    if (at + 1 < lines.length && isBlank(lines[at]) && kItem.test(lines[at + 1])) {
      const next = kItem.exec(lines[at + 1]);
      if (/\d/.test(next[2]) !== ordered || next[1].length > first[1].length + 3) break;
      loose = true;
      ++at;
    }
  }
  return { kind: "list", to: at, items, ordered, loose, start: parseInt(first[2], 10) || 0 };
}

// --- Blocks to nodes -----------------------------------------------------------------------------

function renderBlock(block, depth) {
  switch (block.kind) {
    case "heading": {
      const node = element("h" + Math.min(block.level + 1, 6));  // h1 is the page's.
      renderInline(node, block.text, 0);
      return node;
    }
    case "rule":
      return element("hr");
    case "quote": {
      const node = element("blockquote");
      renderInto(node, block.lines, depth + 1);
      return node;
    }
    case "list":
      return renderList(block, depth);
    case "table":
      return renderTable(block);
    case "code":
      return renderCode(block);
    default: {
      const node = element("p");
      renderInline(node, block.text, 0);
      return node;
    }
  }
}

function renderInto(parent, lines, depth) {
  if (depth > kMaxNesting) {
    parent.append(element("p", "", lines.join("\n")));
    return;
  }
  for (const block of parseBlocks(lines)) parent.append(renderBlock(block, depth));
}

function renderList(block, depth) {
  const list = element(block.ordered ? "ol" : "ul");
  if (block.ordered && block.start !== 1) list.start = block.start;
  for (const lines of block.items) {
    const item = element("li");
    const task = /^\[([ xX])\] /.exec(lines[0]);
    if (task) {
      lines[0] = lines[0].slice(4);
      item.className = "task";
      const box = element("input");
      box.type = "checkbox";
      box.disabled = true;
      box.checked = task[1] !== " ";
      item.append(box);
    }
    renderInto(item, lines, depth + 1);
    if (!block.loose) {  // The text of a tight list has no paragraphs of its own.
      for (const child of [...item.children]) {
        if (child.tagName === "P") child.replaceWith(...child.childNodes);
      }
    }
    list.append(item);
  }
  return list;
}

function cells(row) {
  const text = row.trim().replace(/^\|/, "");
  const out = [];
  let cell = "";
  for (let i = 0; i < text.length; ++i) {
    if (text[i] === "\\" && text[i + 1] === "|") {
      cell += "|";
      ++i;
    } else if (text[i] === "|") {
      out.push(cell.trim());
      cell = "";
    } else {
      cell += text[i];
    }
  }
  if (cell.trim() !== "") out.push(cell.trim());
  return out;
}

function renderTable(block) {
  const align = cells(block.rule).map((rule) =>
    rule.endsWith(":") ? (rule.startsWith(":") ? "centre" : "end") : "");
  const wrapper = element("div", "table");
  wrapper.tabIndex = 0;  // It scrolls by itself, with the keyboard, too.
  const table = element("table");
  const head = element("thead"), body = element("tbody");
  block.rows.forEach((row, index) => {
    const line = element("tr");
    const texts = cells(row);
    for (let i = 0; i < align.length; ++i) {
      const cell = element(index === 0 ? "th" : "td", align[i]);
      renderInline(cell, texts[i] || "", 0);
      line.append(cell);
    }
    (index === 0 ? head : body).append(line);
  });
  table.append(head, body);
  wrapper.append(table);
  return wrapper;
}

function renderCode(block) {
  const wrapper = element("figure", "code");
  const bar = element("figcaption", "", block.language);
  bar.append(copyButton("Copy the code", () => block.code));
  const pre = element("pre");
  pre.tabIndex = 0;
  const code = element("code");
  highlight(code, block.code, block.language.toLowerCase());
  pre.append(code);
  wrapper.append(bar, pre);
  return wrapper;
}

// --- Inline --------------------------------------------------------------------------------------

const kEntities = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", nbsp: "\u00a0" };
const kEmphasis = { "***": ["em", "strong"], "**": ["strong"], "__": ["strong"], "~~": ["del"], "*": ["em"], "_": ["em"] };

function isWord(character) {
  return character !== undefined && /[\p{L}\p{N}]/u.test(character);
}

// The end of emphasis that begins before `from`: what is closed stands before a character that is no space.
function findClosing(text, mark, from) {
  for (let at = text.indexOf(mark, from); at !== -1; at = text.indexOf(mark, at + 1)) {
    if (/\s/.test(text[at - 1]) || text[at - 1] === "\\" || at === from) continue;
    if (mark.length === 1) {  // Three in a row close what two had opened, and then this.
      if (text[at + 1] === mark) continue;
      if (text[at - 1] === mark && (text[at - 2] !== mark || text[at - 3] === mark)) continue;
    }
    if (mark[0] === "_" && isWord(text[at + mark.length])) continue;
    if (mark === "**" && text[at + 2] === "*" && text[at + 3] !== "*") continue;  // "**a *b***" ends later
    return at;
  }
  return -1;
}

function safeUrl(text) {
  if (!/^(?:https?:\/\/|mailto:)[^\s<>"]+$/i.test(text)) return null;
  try {
    const url = new URL(text);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function link(url, title) {
  const node = element("a");
  node.href = url;
  node.target = "_blank";
  node.rel = "noopener noreferrer nofollow";
  node.title = title;
  return node;
}

// [text](url) at `at`, or null. Brackets of the text and parentheses of the address may be nested.
function parseLink(text, at) {
  let end = at, depth = 0;
  for (const limit = Math.min(text.length, at + kMaxLinkText); end < limit; ++end) {
    if (text[end] === "\\") ++end;
    else if (text[end] === "[") ++depth;
    else if (text[end] === "]" && --depth === 0) break;
  }
  if (text[end] !== "]" || text[end + 1] !== "(") return null;
  let to = end + 2;
  depth = 1;
  for (const limit = Math.min(text.length, to + kMaxLinkUrl); to < limit; ++to) {
    if (text[to] === "(") ++depth;
    else if (text[to] === ")" && --depth === 0) break;
  }
  if (text[to] !== ")") return null;
  const target = text.slice(end + 2, to).trim().split(/\s/)[0].replace(/^<|>$/g, "");
  return { label: text.slice(at + 1, end), target, to: to + 1 };
}

// The first of the constructs that may begin at `at`: [node or text, where it ends], or null.
function parseInline(text, at, depth, missing) {
  const character = text[at];
  if (character === "\\" && /[!-/:-@[-`{-~]/.test(text[at + 1] || "")) return [text[at + 1], at + 2];
  if (character === "\n") return [element("br"), at + 1];
  if (character === "`") {
    const run = /^`+/.exec(text.slice(at, at + 50))[0];
    if (missing.has(run)) return [run, at + run.length];
    for (let end = text.indexOf(run, at + run.length); end !== -1;) {
      let past = end + run.length;
      while (text[past] === "`") ++past;
      if (past === end + run.length) {
        const code = text.slice(at + run.length, end).replace(/\n/g, " ");
        return [element("code", "", /^ .*[^ ].* $/.test(code) ? code.slice(1, -1) : code), past];
      }
      end = text.indexOf(run, past);
    }
    missing.add(run);
    return [run, at + run.length];
  }
  if (character === "<") {
    const br = /^<br ?\/?>/i.exec(text.slice(at, at + 6));
    if (br) return [element("br"), at + br[0].length];
    const url = /^<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/i.exec(text.slice(at, at + kMaxLinkUrl));
    if (url && safeUrl(url[1])) {
      const node = link(safeUrl(url[1]), url[1]);
      node.textContent = url[1];
      return [node, at + url[0].length];
    }
  }
  if (character === "&") {
    const entity = /^&(amp|lt|gt|quot|#39|nbsp);/.exec(text.slice(at, at + 7));
    if (entity) return [kEntities[entity[1]], at + entity[0].length];
  }
  if (character === "h" && !isWord(text[at - 1])) {
    const found = /^https?:\/\/[^\s<>"`]+/.exec(text.slice(at, at + kMaxLinkUrl));
    if (found) {
      let address = found[0].replace(/[.,:;!?'*_~]+$/, "");
      while (address.endsWith(")") && !address.includes("(")) address = address.slice(0, -1);
      const url = safeUrl(address);
      if (url) {
        const node = link(url, address);
        node.textContent = address;
        return [node, at + address.length];
      }
    }
  }
  if (character === "[" || (character === "!" && text[at + 1] === "[")) {
    const found = parseLink(text, character === "!" ? at + 1 : at);
    const url = found && safeUrl(found.target);
    if (url) {
      const node = link(url, found.target);
      renderInline(node, found.label || found.target, kMaxNesting - 1);
      return [node, found.to];
    }
  }
  if (depth < kMaxNesting && "*_~".includes(character)) {
    for (const mark of ["***", "**", "__", "~~", "*", "_"]) {
      if (!text.startsWith(mark, at)) continue;
      const after = text[at + mark.length];
      if (after === undefined || /\s/.test(after) || missing.has(mark)) continue;
      if (mark[0] === "_" && isWord(text[at - 1])) continue;
      const end = findClosing(text, mark, at + mark.length);
      if (end === -1) {
        missing.add(mark);
        continue;
      }
      const nodes = kEmphasis[mark].map((tag) => element(tag));
      if (nodes[1]) nodes[0].append(nodes[1]);
      renderInline(nodes[nodes.length - 1], text.slice(at + mark.length, end), depth + 1);
      return [nodes[0], end + mark.length];
    }
    const run = /^[*_~]+/.exec(text.slice(at, at + 50))[0];  // All of it, as none of it opens anything.
    return [run, at + run.length];
  }
  return null;
}

function renderInline(parent, text, depth) {
  const missing = new Set();  // marks that nothing closes from here on
  let plain = "";
  const flush = () => {
    if (plain) parent.append(plain);
    plain = "";
  };
  const special = /[\\\n`<&h[!*_~]/g;
  let at = 0;
  while (at < text.length) {
    special.lastIndex = at;
    const found = special.exec(text);
    const next = found ? found.index : text.length;
    plain += text.slice(at, next);
    at = next;
    if (!found) break;
    const parsed = parseInline(text, at, depth, missing);
    if (!parsed) {
      plain += text[at++];
    } else {
      if (typeof parsed[0] === "string") {
        plain += parsed[0];
      } else {
        flush();
        parent.append(parsed[0]);
      }
      at = parsed[1];
    }
  }
  flush();
}

// --- A growing text ------------------------------------------------------------------------------

// Renders text into `parent` again and again as it grows. Blocks that stay the same keep their nodes, and with them what
// is selected in them, so that only the end costs anything.
class MarkdownView {
  constructor(parent) {
    this.parent = parent;
    this.sources = [];
  }

  update(text) {
    const lines = text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n");
    const blocks = parseBlocks(lines);
    const sources = blocks.map((block) => block.kind + "\n" + lines.slice(block.from, block.to).join("\n"));
    let same = 0;
    while (same < sources.length && sources[same] === this.sources[same]) ++same;
    while (this.parent.childNodes.length > same) this.parent.lastChild.remove();
    for (const block of blocks.slice(same)) this.parent.append(renderBlock(block, 0));
    this.sources = sources;
  }
}
