"use strict";
// Colours for code: comments, strings, numbers and words of the language, by one scan that knows little. It suffices to
// read by; a language that it does not know stays plain.

const kWords = {
  c: "alignas auto bool break case catch char class co_await co_return co_yield concept const consteval constexpr continue " +
    "default delete do double else enum explicit extern false final float for friend goto if inline int long mutable " +
    "namespace new noexcept nullptr operator override private protected public requires return short signed sizeof static " +
    "struct switch template this throw true try typedef typename union unsigned using virtual void volatile while",
  python: "False None True and as assert async await break class continue def del elif else except finally for from global " +
    "if import in is lambda match nonlocal not or pass raise return self try while with yield",
  javascript: "as async await break case catch class const continue debugger default delete do else enum export extends " +
    "false finally for from function if implements import in instanceof interface let new null of return static super " +
    "switch this throw true try type typeof undefined var void while yield",
  java: "abstract boolean break byte case catch char class const continue default do double else enum extends false final " +
    "finally float for if implements import instanceof int interface long native new null package private protected public " +
    "record return sealed short static super switch this throw throws true try var void while",
  rust: "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut " +
    "pub ref return self Self static struct super trait true type unsafe use where while",
  go: "break case chan const continue default defer else fallthrough false for func go goto if import interface map nil " +
    "package range return select struct switch true type var",
  shell: "case do done elif else esac export fi for function if in local return set shift then trap until while echo cd",
  sql: "add all alter and as asc by case column create delete desc distinct drop else end exists from full group having in " +
    "index inner insert into is join key left like limit not null on or order outer primary right select set table then " +
    "union unique update values when where with",
  json: "true false null",
};
const kNames = {
  "c++": "c", cpp: "c", cc: "c", h: "c", hpp: "c", c: "c", cuda: "c", py: "python", python: "python", python3: "python",
  js: "javascript", javascript: "javascript", jsx: "javascript", ts: "javascript", typescript: "javascript",
  tsx: "javascript", java: "java", kotlin: "java", "c#": "java", csharp: "java", rs: "rust", rust: "rust", go: "go",
  golang: "go", sh: "shell", bash: "shell", shell: "shell", zsh: "shell", sql: "sql", json: "json", yaml: "json", toml: "json",
};
const kWordSets = Object.fromEntries(Object.entries(kWords).map(([name, words]) => [name, new Set(words.split(" "))]));

function tokenPattern(language) {
  const comment = {
    python: "#[^\\n]*", shell: "#[^\\n]*", json: "#[^\\n]*", sql: "--[^\\n]*",
  }[language] || "//[^\\n]*|/\\*(?:[^*]|\\*(?!/))*(?:\\*/)?";
  const long = language === "python" ? '"""(?:[^"]|"(?!""))*(?:""")?|\'\'\'(?:[^\']|\'(?!\'\'))*(?:\'\'\')?|' : "";
  const template = language === "javascript" || language === "go" ? "|`(?:[^`\\\\]|\\\\[^])*`?" : "";
  // An apostrophe of Rust may begin a lifetime.
  const single = language === "rust" ? "'(?:[^'\\\\\\n]|\\\\.)'" : "'(?:[^'\\\\\\n]|\\\\.)*'?";
  const text = `${long}"(?:[^"\\\\\\n]|\\\\.)*"?|${single}${template}`;
  const number = "\\b(?:0[xXbBoO][\\da-fA-F_']+|\\d[\\d_]*(?:\\.\\d+)?(?:[eE][+-]?\\d+)?)\\w*";
  return new RegExp(`(${comment})|(${text})|(${number})|([A-Za-z_$][\\w$]*)`, "g");
}

function highlight(parent, code, language) {
  const name = Object.hasOwn(kNames, language) ? kNames[language] : null;
  if (!name || code.length > 50000) {
    parent.textContent = code;
    return;
  }
  let at = 0;
  for (const found of code.matchAll(tokenPattern(name))) {
    const [token, comment, text, number, word] = found;
    let kind = comment ? "comment" : text ? "string" : number ? "number" : "";
    if (word && kWordSets[name].has(name === "sql" ? word.toLowerCase() : word)) kind = "word";
    if (!kind) continue;
    parent.append(code.slice(at, found.index), element("span", kind, token));
    at = found.index + token.length;
  }
  parent.append(code.slice(at));
}
