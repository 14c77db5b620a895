#include "quant/calibrate/calibration_text.h"

#include <algorithm>
#include <ctime>
#include <filesystem>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "files/text_file.h"
#include "text/chat_format.h"

namespace fptq {
namespace {

std::vector<int32_t> PlainTokens(const TextFile& file, size_t count, const Tokenizer& tokenizer) {
  std::vector<int32_t> tokens;
  // Tokens of text have some 4 bytes: no need to tokenize all of a large file, unless its tokens
  // are longer by far.
  for (size_t bytes_per_token = 64; true; bytes_per_token *= 8) {
    const std::string_view text = file.text().substr(0, bytes_per_token * count);
    tokens = tokenizer.Encode(text, {.parse_special = false, .add_prefix = false});
    if (tokens.size() > count || text.size() == file.text().size()) return tokens;
  }
}

// The tokens of a line of a file of conversations.
std::vector<int32_t> ConversationTokens(std::string_view line, const std::string& where,
                                        const ChatFormat& format) {
  const Json json = ParseJson(line, where);
  Conversation conversation;
  conversation.messages = JsonFields(json, where).Array("messages");
  conversation.add_generation_prompt = false;
  conversation.now = std::tm{};  // the same text on every day
  conversation.now->tm_year = 125;
  conversation.now->tm_mday = 1;
  try {
    return format.Encode(conversation);
  } catch (const Error& error) {
    throw Error("{}: {}", where, error.what());
  }
}

std::vector<int32_t> ChatTokens(const TextFile& file, size_t count, const std::string& path,
                                const ModelSource& source, const Tokenizer& tokenizer) {
  const ChatFormat format(FindChatTemplates(source.LoadTokenizer()), tokenizer);
  std::vector<int32_t> tokens;
  int64_t number = 0;
  for (std::string_view rest = file.text(); !rest.empty() && tokens.size() < count;) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::vector<int32_t> added =
        ConversationTokens(line, fmt::format("{}, line {}", path, number), format);
    tokens.insert(tokens.end(), added.begin(), added.end());
  }
  return tokens;
}

}  // namespace

std::vector<int32_t> ReadCalibrationText(const std::string& path, int64_t count,
                                         const ModelSource& source, const Tokenizer& tokenizer) {
  const TextFile file(path);
  const auto wanted = static_cast<size_t>(count);
  std::vector<int32_t> tokens = std::filesystem::path(path).extension() == ".jsonl"
                                    ? ChatTokens(file, wanted, path, source, tokenizer)
                                    : PlainTokens(file, wanted, tokenizer);
  if (tokens.empty()) throw Error("{}: expected text to calibrate with, found no token", path);
  tokens.resize(std::min(tokens.size(), wanted));
  return tokens;
}

}  // namespace fptq
