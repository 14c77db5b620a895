#include "text/gguf_pre_tokenizer.h"

#include <fmt/ranges.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "base/error.h"

namespace fptq {
namespace {

// --- Patterns, in Oniguruma's syntax, where a class within a class adds to it ---

constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S))";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kSeedCoder =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kBailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Of Mistral NeMo and of GPT-4o, which takes the endings of contractions along.
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kBloom = R"( ?[^(\s|[.,!?…。，、।۔،])]+)";
constexpr const char* kDeepSeek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepSeekHan = "[一-龥ࠀ-一가-퟿]+";
constexpr const char* kThreeDigits = "[0-9][0-9][0-9]";
constexpr const char* kNumber = R"(\p{N}+)";

// --- What tokenizer.json makes of them ---

Json ByteLevel(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json Sequence(std::vector<Json> steps, bool use_regex) {
  steps.push_back(ByteLevel(use_regex));
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

// Cuts by each in turn; what matches is a word, and so is what does not.
Json Splits(std::initializer_list<const char*> patterns) {
  std::vector<Json> steps;
  for (const char* pattern : patterns) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  return Sequence(std::move(steps), /*use_regex=*/false);
}

Json Gpt2() { return ByteLevel(/*use_regex=*/true); }
Json DigitsThenGpt2() {
  return Sequence({{{"type", "Digits"}, {"individual_digits", true}}}, /*use_regex=*/true);
}
// What llama.cpp takes for models whose own it did not know.
Json Default() { return Splits({R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, kNumber, kThreeDigits}); }
Json Falcon() { return Splits({R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, kThreeDigits}); }
Json Qwen2() { return Splits({kQwen2}); }
Json Qwen35() { return Splits({kQwen35}); }
Json SeedCoder() { return Splits({kSeedCoder}); }
Json Bailing() { return Splits({kBailing}); }
Json Llama3() { return Splits({kLlama3}); }
Json Tekken() { return Splits({kTekken}); }
Json Gpt4o() { return Splits({kGpt4o}); }
Json Bloom() { return Splits({kBloom}); }
Json Viking() { return Splits({kBloom, R"(\p{N})"}); }
Json DeepSeekCoder() {
  return Splits({R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepSeekHan, R"(\p{N})"});
}
Json DeepSeek3() { return Splits({R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepSeek3}); }

// llama.cpp's names. It normalizes none of them; `nfc` is what the models' own files have.
constexpr GgufPreTokenizer kKnown[] = {
    {"default", Default},
    {"gpt-2 phi-2 exaone4 gigachat a.x-4.0 mellum modern-bert jina-es jina-de jina-v2-es "
     "jina-v2-de jais trillion granite-docling",
     Gpt2},
    {"mpt olmo", Gpt2, /*nfc=*/true},
    {"smollm starcoder refact codeshell exaone minerva-7b mellum2", DigitsThenGpt2},
    {"command-r", DigitsThenGpt2, /*nfc=*/true},
    {"falcon", Falcon},
    {"qwen2", Qwen2, /*nfc=*/true},
    {"deepseek-r1-qwen stablelm2 megrez hunyuan kormo f2llmv2 solar-open grok-2", Qwen2},
    {"qwen35", Qwen35},
    {"seed-coder", SeedCoder},
    {"bailingmoe bailingmoe2 llada-moe", Bailing},
    {"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", Llama3,
     /*nfc=*/false, /*ignore_merges=*/true, /*add_bos=*/true},
    {"smaug-bpe dbrx chatglm-bpe", Llama3},
    {"glm4 glm5", Llama3, /*nfc=*/false, /*ignore_merges=*/true},
    {"tekken", Tekken, /*nfc=*/false, /*ignore_merges=*/true, /*add_bos=*/true},
    {"gpt-4o llama4 kanana2 talkie minimax-m2", Gpt4o},
    {"bloom gpt3-finnish poro-chat", Bloom},
    {"viking", Viking},
    {"deepseek-coder", DeepSeekCoder},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4", DeepSeek3},
};

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    words.push_back(text.substr(0, text.find(' ')));
    text.remove_prefix(std::min(text.size(), words.back().size() + 1));
  }
  return words;
}

}  // namespace

const GgufPreTokenizer& FindGgufPreTokenizer(std::string_view name, std::string_view where) {
  std::vector<std::string_view> all;
  for (const GgufPreTokenizer& known : kKnown) {
    for (const std::string_view word : Words(known.names)) {
      if (word == name) return known;
      all.push_back(word);
    }
  }
  throw Error("{}: '{}' is not supported; known are {}", where, name, fmt::join(all, ", "));
}

}  // namespace fptq
