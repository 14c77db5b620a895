// From texts and conversations to tokens and back, without the weights of a model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fptq/error.h"

namespace fptq {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", or what else the model's template knows
  std::string content;
};

// Immutable; for any thread.
class FPTQ_API ModelTokenizer {
 public:
  // `model` and `pre_tokenizer` as LLM and LlmOptions have them.
  explicit ModelTokenizer(const std::filesystem::path& model,
                          const std::string& pre_tokenizer = {});
  ModelTokenizer(ModelTokenizer&&) noexcept;
  ModelTokenizer& operator=(ModelTokenizer&&) noexcept;
  ~ModelTokenizer();

  // Token ids of a text. `special`: whether special tokens that stand in it are recognized.
  // `prefix`: whether what the model expects before a text, e.g. BOS, is put there.
  std::vector<int32_t> Encode(std::string_view text, bool special = true, bool prefix = true) const;
  std::string Decode(std::span<const int32_t> tokens, bool skip_special = true) const;
  // The prompt of a conversation, by the model's own template. What messages say can become no
  // control token. Error if the model has no template, or its template refuses.
  std::vector<int32_t> EncodeChat(std::span<const ChatMessage> messages,
                                  bool add_generation_prompt = true) const;
  // The same of a JSON object {"messages": [...], "tools": [...], ...}, as templates see it.
  std::vector<int32_t> EncodeChat(std::string_view conversation_json) const;
  // Tokens at which an answer in a chat ends.
  std::vector<int32_t> chat_stop_tokens() const;

 private:
  friend class LLM;
  friend class ModelServer;
  struct State;
  explicit ModelTokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fptq
