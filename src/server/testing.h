// What the tests of the server share.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/test_paths.h"
#include "server/api.h"

namespace fptq {

// The text side of a tiny model, which has <|im_start|>, <|im_end|> and a template of ChatML.
struct TinyText {
  TinyText()
      : files(LoadTokenizerFiles(std::filesystem::path(kTestdata) / "models" / "tiny-llama-w4a8")),
        tokenizer(files, 288),
        format(FindChatTemplates(files), tokenizer) {
    context.tokenizer = &tokenizer;
    context.chat_format = &format;
    context.context = 256;
    context.model_names = {"tiny", "small"};
    context.max_sequences = 8;
  }

  std::vector<int32_t> Encode(std::string_view text) const {
    return tokenizer.Encode(text, {.parse_special = true, .add_prefix = true});
  }

  TokenizerFiles files;
  Tokenizer tokenizer;
  ChatFormat format;
  ApiContext context;
};

// The ApiError that `f` throws; status 0 if it throws none.
inline ApiError ApiErrorOf(const std::function<void()>& f) {
  try {
    f();
  } catch (const ApiError& e) {
    return e;
  }
  return ApiError(0, "no error");
}

}  // namespace fptq
