#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "server/request_fields.h"

namespace fptq {
namespace {

constexpr KnownField kConversationFields[] = {
    {"messages"},
    {"tools"},
    {"tool_choice"},
    {"parallel_tool_calls"},
    {"documents"},
    {"chat_template_kwargs"},
    {"reasoning_effort"},
    {"add_generation_prompt"},
    {"continue_final_message", "an answer is a message of its own"},
    {"chat_template", "no templates are taken from requests"},
    {"functions", "it is obsolete; see tools"},
    {"function_call", "it is obsolete; see tools"},
};

constexpr KnownField kChatFields[] = {
    {"max_tokens"},
    {"max_completion_tokens"},
    {"logprobs"},
    {"top_logprobs"},
    {"modalities"},  // of which text is supported
    {"verbosity"},   // of which medium is
    {"echo", "use /v1/completions"},
    {"audio", "answers are texts"},
    {"web_search_options", "nothing is searched"},
    {"add_special_tokens", "the chat template writes them"},
};

// What strangers' templates may use for one prompt; by default they may use more.
constexpr jinja::Limits kTemplateLimits = {
    .work = int64_t{1} << 26, .memory = int64_t{1} << 27, .depth = 300};

// The text of a message: texts of several parts are put together by lines, so that templates need
// not know of parts.
Json ReadContent(const Json& content, const std::string& name) {
  if (content.is_string() || content.is_null()) return content;
  if (!content.is_array()) BodyFields::Refuse(name, "a string or an array of parts", content);
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const Json& part = content[i];
    const std::string where = fmt::format("{}[{}]", name, i);
    const auto type = part.is_object() ? part.find("type") : part.end();
    if (!part.is_object() || type == part.end() || *type != "text") {
      const Json& found = part.is_object() && type != part.end() ? *type : part;
      BodyFields::Refuse(where, "a part of type \"text\"", found);
    }
    const auto part_text = part.find("text");
    if (part_text == part.end() || !part_text->is_string()) {
      BodyFields::Refuse(where + ".text", "a string",
                         part_text == part.end() ? Json() : *part_text);
    }
    if (i > 0) text += '\n';
    text += part_text->get_ref<const std::string&>();
  }
  return text;
}

// Clients send a call's arguments as a text of JSON, and templates write them as values.
void ParseArguments(Json& tool_calls) {
  for (Json& call : tool_calls) {
    if (!call.is_object() || !call.contains("function")) continue;
    Json& function = call["function"];
    if (!function.is_object() || !function.contains("arguments")) continue;
    Json& arguments = function["arguments"];
    if (!arguments.is_string()) continue;
    try {
      Json parsed = ParseJson(arguments.get_ref<const std::string&>(), "arguments");
      if (parsed.is_object()) arguments = std::move(parsed);
    } catch (const Error&) {  // a model may have written anything: then it stays a text
    }
  }
}

Json ReadMessage(const Json& message, const std::string& name) {
  if (!message.is_object()) BodyFields::Refuse(name, "an object", message);
  const auto role = message.find("role");
  if (role == message.end() || !role->is_string()) {
    BodyFields::Refuse(name + ".role", "a string", role == message.end() ? Json() : *role);
  }
  Json result = message;
  const auto content = message.find("content");
  if (content != message.end()) result["content"] = ReadContent(*content, name + ".content");
  const bool has_calls = message.contains("tool_calls") && message["tool_calls"].is_array();
  if (has_calls) ParseArguments(result["tool_calls"]);
  if (!has_calls && *role != "assistant" && (content == message.end() || content->is_null())) {
    throw ApiError(400, fmt::format("'{}.content' is missing", name), name + ".content",
                   "missing_required_parameter");
  }
  return result;
}

// Tools are for the template to write. Whether a model calls them is left to it.
Json ReadTools(const BodyFields& fields) {
  const Json* choice = fields.Find("tool_choice");
  const bool none = choice != nullptr && *choice == "none";
  if (choice != nullptr && !none && *choice != "auto") {
    throw ApiError(400, "'tool_choice': only \"auto\" and \"none\" are supported", "tool_choice",
                   "unsupported_parameter");
  }
  const Json* tools = fields.Array("tools");
  if (tools == nullptr || tools->empty()) return nullptr;
  for (size_t i = 0; i < tools->size(); ++i) {
    const Json& tool = (*tools)[i];
    const auto function = tool.is_object() ? tool.find("function") : tool.end();
    if (!tool.is_object() || function == tool.end() || !function->is_object()) {
      BodyFields::Refuse(fmt::format("tools[{}]", i), "an object with a 'function'", tool);
    }
    const auto type = tool.find("type");
    if (type != tool.end() && !type->is_string()) {
      BodyFields::Refuse(fmt::format("tools[{}].type", i), "a string", *type);
    }
  }
  return none ? Json(nullptr) : *tools;
}

// Variables of the template. Those that the request has fields for are not among them.
Json ReadVariables(const BodyFields& fields) {
  Json variables = Json::object();
  if (fields.Has("reasoning_effort")) {
    variables["reasoning_effort"] = fields.StringOr("reasoning_effort", "");
  }
  const Json* more = fields.Object("chat_template_kwargs");
  if (more == nullptr) return variables;
  for (const auto& [name, value] : more->items()) {
    if (name == "messages" || name == "tools" || name == "documents" ||
        name == "add_generation_prompt") {
      throw ApiError(400, fmt::format("'chat_template_kwargs': '{}' is a field of its own", name),
                     "chat_template_kwargs", "invalid_value");
    }
    variables[name] = value;
  }
  return variables;
}

void RefuseUnsupportedValues(const BodyFields& fields) {
  const Json* modalities = fields.Array("modalities");
  if (modalities != nullptr && *modalities != Json::array({"text"})) {
    throw ApiError(400, "'modalities': only [\"text\"] is supported", "modalities",
                   "unsupported_parameter");
  }
  if (fields.StringOr("verbosity", "medium") != "medium") {
    throw ApiError(400, "'verbosity': only \"medium\" is supported", "verbosity",
                   "unsupported_parameter");
  }
}

}  // namespace

std::span<const KnownField> ConversationFields() { return kConversationFields; }

std::vector<std::span<const KnownField>> ChatFields() {
  return {kConversationFields, kChatFields, CommonFields()};
}

Conversation ReadConversation(const BodyFields& fields) {
  const Json* messages = fields.Array("messages");
  if (messages == nullptr) {
    throw ApiError(400, "'messages' is missing", "messages", "missing_required_parameter");
  }
  if (messages->empty()) BodyFields::Refuse("messages", "at least one message", *messages);
  Conversation conversation;
  for (size_t i = 0; i < messages->size(); ++i) {
    conversation.messages.push_back(ReadMessage((*messages)[i], fmt::format("messages[{}]", i)));
  }
  conversation.tools = ReadTools(fields);
  fields.BoolOr("parallel_tool_calls", true);
  if (const Json* documents = fields.Array("documents")) {
    if (!documents->empty()) conversation.documents = *documents;
  }
  conversation.variables = ReadVariables(fields);
  conversation.add_generation_prompt = fields.BoolOr("add_generation_prompt", true);
  conversation.limits = kTemplateLimits;
  return conversation;
}

// Calls of tools come without a content, of which templates that know no tools write the text.
// Nothing if all messages have one.
std::optional<Conversation> WithEmptyContents(const Conversation& conversation) {
  Conversation result = conversation;
  bool changed = false;
  for (Json& message : result.messages) {
    if (!message.contains("content") || message["content"].is_null()) {
      message["content"] = "";
      changed = true;
    }
  }
  return changed ? std::optional(std::move(result)) : std::nullopt;
}

std::vector<int32_t> EncodeConversation(const Conversation& conversation,
                                        const ApiContext& context) {
  if (context.chat_format == nullptr) {
    throw ApiError(422,
                   "the model has no chat template; use /v1/completions, or start the server "
                   "with --chat-template",
                   "messages", "no_chat_template");
  }
  try {
    return context.chat_format->Encode(conversation);
  } catch (const Error& e) {
    const std::string why = e.what();
    if (const auto filled = WithEmptyContents(conversation)) {
      try {
        return context.chat_format->Encode(*filled);
      } catch (const Error&) {  // then the first one tells more
      }
    }
    throw ApiError(400, why, "messages", "invalid_value");
  }
}

AnswerCall ParseChat(const Json& body, const ApiContext& context, uint64_t random_seed) {
  const BodyFields fields(body, ChatFields());
  AnswerCall call;
  call.kind = AnswerKind::kChat;
  ReadCommonFields(fields, context, random_seed, call);
  Request& request = call.request;
  RefuseUnsupportedValues(fields);
  constexpr int64_t kAny = std::numeric_limits<int32_t>::max();
  request.max_tokens = fields.IntOr("max_completion_tokens",
                                    fields.IntOr("max_tokens", context.context, 0, kAny), 0, kAny);
  call.log_probabilities = fields.BoolOr("logprobs", false);
  request.log_probabilities = call.log_probabilities;
  request.top_log_probabilities = fields.IntOr("top_logprobs", 0, 0, kMaxTopLogProbabilities);
  if (request.top_log_probabilities > 0 && !call.log_probabilities) {
    throw ApiError(400, "'top_logprobs': expected 'logprobs' to be true", "top_logprobs",
                   "invalid_value");
  }
  if (call.n > context.max_sequences) {
    throw ApiError(400,
                   fmt::format("'n': expected at most {}, found {}", context.max_sequences, call.n),
                   "n", "invalid_value");
  }
  call.prompts.push_back(EncodeConversation(ReadConversation(fields), context));
  CheckPrompt(call.prompts.back(), "messages", context);
  if (!request.ignore_eos) {
    std::ranges::copy(context.chat_format->stop_tokens(), std::back_inserter(request.stop_tokens));
  }
  return call;
}

}  // namespace fptq
