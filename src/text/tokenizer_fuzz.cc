#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/fuzz/target.h"
#include "base/test_paths.h"
#include "base/utf8.h"
#include "text/character_map.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"

namespace fptq {
namespace {

std::string StreamText(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
  TokenStream stream(tokenizer);
  std::string text;
  for (const int32_t id : ids) text += stream.Push(id);
  return text + stream.Finish();
}

// What must hold of any tokenizer and text.
void Use(const Tokenizer& tokenizer, std::string_view text) {
  for (const bool special : {false, true}) {
    const std::vector<int32_t> ids =
        tokenizer.Encode(text, {.parse_special = special, .add_prefix = special});
    for (const int32_t id : ids) {
      FPTQ_CHECK(tokenizer.Contains(id));
      tokenizer.TokenBytes(id);
    }
    const std::string decoded = tokenizer.Decode(ids, /*skip_special=*/!special);
    FPTQ_CHECK(ReplaceIllFormedUtf8(decoded) == decoded);
    StreamText(tokenizer, ids);
  }
}

constexpr std::string_view kSample = " Hello, w\xC3\xB6rld! <s> \xE4\xBD\xA0\n\n\t1234 </s>  x";

}  // namespace

// {"tokenizer.json": {...}, "tokenizer_config.json": {...}, "merges.txt": "...", ..., "text": ...}:
// the files of a folder.
FPTQ_FUZZ_TARGET(tokenizer, kJson) {
  static const FuzzFolder folder;
  const Json files = ParseJson(input, "input");
  folder.Clear();
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json"}) {
    const auto file = files.find(name);
    if (file == files.end()) continue;
    folder.Write(name, file->is_string() ? file->get<std::string>() : file->dump());
  }
  const Tokenizer tokenizer(LoadTokenizerFiles(folder.path()));
  Use(tokenizer, kSample);
  const auto text = files.find("text");
  if (text != files.end() && text->is_string()) Use(tokenizer, text->get<std::string>());
}

// The metadata of a GGUF file.
FPTQ_FUZZ_TARGET(gguf_tokenizer, kJson) {
  const Tokenizer tokenizer(TokenizerFilesFromGguf(ParseJson(input, "input"), "file"));
  Use(tokenizer, kSample);
}

// A tokenizer.model.
FPTQ_FUZZ_TARGET(sentencepiece, kBytes) {
  const SentencePieceModel model = ParseSentencePieceModel(std::as_bytes(std::span(input)), "file");
  const Json json = SentencePieceTokenizerJson(
      model.vocabulary,
      {.method = model.method, .unknown = model.unknown, .bos = model.bos, .eos = model.eos},
      "file");
  TokenizerFiles files;
  files.where = "file";
  files.tokenizer = json;
  files.tokenizer_config = Json::object();
  const Tokenizer tokenizer(files);
  Use(tokenizer, kSample);
}

// A precompiled_charsmap.
FPTQ_FUZZ_TARGET(character_map, kBytes) {
  const CharacterMap map(input, "file");
  const std::string text = map.Apply(kSample, /*max_bytes=*/1 << 20);
  FPTQ_CHECK(ReplaceIllFormedUtf8(text) == text);
  FPTQ_CHECK(DecodeBase64(EncodeBase64(input), "file") == input);
}

// A byte that chooses one of the real tokenizers, and a text.
FPTQ_FUZZ_TARGET(encode, kBytes) {
  static const auto tokenizers = [] {
    std::vector<Tokenizer> all;
    for (const char* name : {"bloom", "gemma", "gpt2", "llama2", "llama3", "qwen2", "sentencepiece",
                             "smollm", "unigram", "unigram_bytes", "unigram_model"}) {
      all.emplace_back(LoadTokenizerFiles(std::filesystem::path(kTestdata) / "tokenizer" / name));
    }
    return all;
  }();
  if (input.empty()) return;
  const Tokenizer& tokenizer = tokenizers[static_cast<unsigned char>(input[0]) % tokenizers.size()];
  Use(tokenizer, input.substr(1));
}

}  // namespace fptq
