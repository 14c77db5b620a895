#include "text/chat_template.h"

#include <algorithm>
#include <iterator>

#include "base/error.h"

namespace fptq {
namespace {

struct Conversation {
  std::span<const ChatMessage> messages;
  bool add_generation_prompt;
  std::string_view bos;
  std::string_view eos;
};

struct Format {
  std::string_view name;
  std::vector<std::string_view> telltales;   // a Jinja text of this format has all of these
  std::vector<std::string_view> exclusions;  // and none of these, which variants of it have
  std::string_view end_of_turn;
  std::string (*apply)(const Conversation&);
};

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\r\v\f";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == text.npos) return "";
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

void CheckRoles(const Conversation& c, std::initializer_list<std::string_view> roles,
                std::string_view format) {
  for (const ChatMessage& message : c.messages) {
    if (std::find(roles.begin(), roles.end(), message.role) == roles.end()) {
      throw Error("chat template '{}' has no place for the role '{}' (it has {})", format,
                  message.role, fmt::join(roles, ", "));
    }
  }
}

// The formats without headers: user and assistant by turns.
void CheckTurns(std::span<const ChatMessage> messages, std::string_view format) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const std::string_view expected = i % 2 == 0 ? "user" : "assistant";
    if (messages[i].role != expected) {
      throw Error("chat template '{}': expected a message of the role '{}', found '{}'", format,
                  expected, messages[i].role);
    }
  }
}

std::string ApplyChatml(const Conversation& c) {
  std::string out;
  for (const ChatMessage& message : c.messages) {
    out += fmt::format("<|im_start|>{}\n{}<|im_end|>\n", message.role, message.content);
  }
  if (c.add_generation_prompt) out += "<|im_start|>assistant\n";
  return out;
}

std::string ApplyLlama2(const Conversation& c) {
  CheckRoles(c, {"system", "user", "assistant"}, "llama2");
  std::span<const ChatMessage> turns = c.messages;
  std::string system;
  if (!turns.empty() && turns.front().role == "system") {
    system = fmt::format("<<SYS>>\n{}\n<</SYS>>\n\n", turns.front().content);
    turns = turns.subspan(1);
  }
  CheckTurns(turns, "llama2");
  std::string out;
  for (size_t i = 0; i < turns.size(); ++i) {
    if (turns[i].role == "user") {
      const std::string content = (i == 0 ? system : "") + turns[i].content;
      out += fmt::format("{}[INST] {} [/INST]", c.bos, Trim(content));
    } else {
      out += fmt::format(" {} {}", Trim(turns[i].content), c.eos);
    }
  }
  return out;
}

std::string ApplyLlama3(const Conversation& c) {
  std::string out(c.bos);
  for (const ChatMessage& message : c.messages) {
    out += fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n{}<|eot_id|>", message.role,
                       Trim(message.content));
  }
  if (c.add_generation_prompt) out += "<|start_header_id|>assistant<|end_header_id|>\n\n";
  return out;
}

std::string ApplyZephyr(const Conversation& c) {
  CheckRoles(c, {"system", "user", "assistant"}, "zephyr");
  std::string out;
  for (const ChatMessage& message : c.messages) {
    out += fmt::format("<|{}|>\n{}{}\n", message.role, message.content, c.eos);
  }
  if (c.add_generation_prompt) out += "<|assistant|>\n";
  return out;
}

std::string ApplyMistral(const Conversation& c) {
  CheckRoles(c, {"user", "assistant"}, "mistral");
  CheckTurns(c.messages, "mistral");
  std::string out(c.bos);
  for (const ChatMessage& message : c.messages) {
    out += message.role == "user" ? fmt::format("[INST] {} [/INST]", message.content)
                                  : fmt::format("{}{}", message.content, c.eos);
  }
  return out;
}

std::string ApplyGemma(const Conversation& c) {
  CheckRoles(c, {"system", "user", "assistant"}, "gemma");
  std::span<const ChatMessage> turns = c.messages;
  std::string system;  // goes before the first message of the user
  if (!turns.empty() && turns.front().role == "system") {
    system = turns.front().content + "\n\n";
    turns = turns.subspan(1);
  }
  CheckTurns(turns, "gemma");
  std::string out(c.bos);
  for (size_t i = 0; i < turns.size(); ++i) {
    out += fmt::format("<start_of_turn>{}\n{}{}<end_of_turn>\n",
                       turns[i].role == "user" ? "user" : "model", i == 0 ? system : "",
                       Trim(turns[i].content));
  }
  if (c.add_generation_prompt) out += "<start_of_turn>model\n";
  return out;
}

const std::vector<Format>& Formats() {
  static const auto* const formats = new std::vector<Format>{
      {"chatml", {"<|im_start|>", "<|im_end|>"}, {}, "<|im_end|>", ApplyChatml},
      {"llama2", {"[INST]", "<<SYS>>"}, {}, "", ApplyLlama2},
      // Llama 3.1 and later put dates and tools into the system message.
      {"llama3",
       {"<|start_header_id|>", "<|eot_id|>"},
       {"Cutting Knowledge Date"},
       "<|eot_id|>",
       ApplyLlama3},
      {"zephyr", {"<|user|>", "<|assistant|>", "eos_token"}, {"<|end|>"}, "", ApplyZephyr},
      // Later versions have a system message, tools and other spaces.
      {"mistral",
       {"[INST]", "[/INST]", "eos_token"},
       {"<<SYS>>", "[AVAILABLE_TOOLS]", "[SYSTEM_PROMPT]", "system_message"},
       "",
       ApplyMistral},
      {"gemma", {"<start_of_turn>", "<end_of_turn>"}, {}, "<end_of_turn>", ApplyGemma},
  };
  return *formats;
}

bool Contains(std::string_view text, std::string_view part) { return text.find(part) != text.npos; }

std::string Unescape(std::string_view literal) {
  std::string out;
  for (size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] == '\\' && i + 1 < literal.size()) {
      ++i;
      out += literal[i] == 'n' ? '\n' : literal[i] == 't' ? '\t' : literal[i];
    } else {
      out += literal[i];
    }
  }
  return out;
}

// The system message that a ChatML template writes if the conversation has none: the text between
// the markers, where it is a plain literal and not put together from variables.
std::string FindDefaultSystem(std::string_view jinja) {
  constexpr std::string_view kStart = "<|im_start|>system";
  constexpr std::string_view kEnd = "<|im_end|>";
  for (size_t at = jinja.find(kStart); at != jinja.npos; at = jinja.find(kStart, at + 1)) {
    const char quote = at > 0 ? jinja[at - 1] : '\0';
    std::string_view text = jinja.substr(at + kStart.size());
    text = text.substr(0, text.find(kEnd));
    for (const std::string_view newline : {"\n", "\\n"}) {
      if (!text.starts_with(newline)) continue;
      text.remove_prefix(newline.size());
      bool plain = !text.empty() && text.find_first_of("{}") == text.npos;
      for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] == quote && (i == 0 || text[i - 1] != '\\')) plain = false;
      }
      if (plain) return Unescape(text);
    }
  }
  return "";
}

}  // namespace

ChatTemplate ChatTemplate::FromJinja(std::string_view jinja, std::string_view where) {
  const auto in_jinja = [&](std::string_view part) { return Contains(jinja, part); };
  for (const Format& format : Formats()) {
    if (std::all_of(format.telltales.begin(), format.telltales.end(), in_jinja) &&
        std::none_of(format.exclusions.begin(), format.exclusions.end(), in_jinja)) {
      ChatTemplate result = FromName(format.name);
      if (format.name == "chatml") result.default_system_ = FindDefaultSystem(jinja);
      return result;
    }
  }
  throw Error("{}: the chat template is none of those known; choose one with --chat-template {}",
              where, fmt::join(Names(), "|"));
}

ChatTemplate ChatTemplate::FromName(std::string_view name) {
  const std::vector<std::string_view> names = Names();
  const auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end()) {
    throw Error("chat template '{}' is unknown; known are {}", name, fmt::join(names, ", "));
  }
  ChatTemplate result;
  result.format_ = static_cast<int>(it - names.begin());
  return result;
}

std::vector<std::string_view> ChatTemplate::Names() {
  std::vector<std::string_view> names;
  for (const Format& format : Formats()) names.push_back(format.name);
  return names;
}

std::string_view ChatTemplate::name() const { return Formats()[static_cast<size_t>(format_)].name; }

std::string_view ChatTemplate::end_of_turn() const {
  return Formats()[static_cast<size_t>(format_)].end_of_turn;
}

std::string ChatTemplate::Apply(std::span<const ChatMessage> messages, bool add_generation_prompt,
                                std::string_view bos, std::string_view eos) const {
  std::vector<ChatMessage> all;
  if (!default_system_.empty() && !messages.empty() && messages.front().role != "system") {
    all.push_back({"system", default_system_});
  }
  all.insert(all.end(), messages.begin(), messages.end());
  return Formats()[static_cast<size_t>(format_)].apply({all, add_generation_prompt, bos, eos});
}

}  // namespace fptq
