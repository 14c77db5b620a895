#include "model/special_tokens.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/json.h"
#include "files/json_file.h"
#include "files/paths.h"

namespace fptq {
namespace {

// Collects the tokens that files name and that the model has.
class Finder {
 public:
  // `model`: the path of the model, for messages.
  Finder(const Tokenizer& tokenizer, std::string model)
      : tokenizer_(tokenizer), model_(std::move(model)) {}

  // Of the field `name`: one id, a list of them, or nothing.
  std::vector<int32_t> ByIds(const Json& object, const std::string& name,
                             const std::string& where) {
    if (!JsonFields(object, where).Has(name)) return {};
    const Json& value = object.at(name);
    const Json ids = value.is_array() ? value : Json::array({value});
    std::vector<int32_t> tokens;
    for (const Json& id : ids) {
      if (!id.is_number_integer()) {
        throw Error("{}: {}: '{}': expected a token id, found {}", model_, where, name,
                    id.type_name());
      }
      // An id of more than 32 bits compares as what it is.
      if (id < 0 || id >= kMaxTokenIds || !tokenizer_.Contains(id.get<int32_t>())) {
        ignored_.push_back(fmt::format("{} {} ({})", name, id.dump(), where));
      } else {
        tokens.push_back(id.get<int32_t>());
      }
    }
    return tokens;
  }

  // Of a field of tokenizer_config.json.
  std::optional<int32_t> ByName(const TokenizerFiles& files, const std::string& name) {
    const std::string content = NamedToken(files, name);
    if (content.empty()) return std::nullopt;
    const std::optional<int32_t> id = tokenizer_.TokenToId(content);
    if (id && tokenizer_.Contains(*id)) return id;
    ignored_.push_back(fmt::format("{} '{}' (tokenizer)", name, content));
    return std::nullopt;
  }

  std::string Warning() const {
    if (ignored_.empty()) return "";
    return fmt::format(
        "{}: tokens that the tokenizer or the embedding does not have are ignored: {}", model_,
        fmt::join(ignored_, ", "));
  }

 private:
  const Tokenizer& tokenizer_;
  std::string model_;
  std::vector<std::string> ignored_;
};

void AddTo(std::vector<int32_t>& tokens, const std::vector<int32_t>& more) {
  for (const int32_t token : more) {
    if (std::ranges::find(tokens, token) == tokens.end()) tokens.push_back(token);
  }
}

}  // namespace

void WriteSpecialTokens(const SpecialTokens& special, Json& config) {
  const auto set = [&](const char* name, const Json& value) {
    if (!value.is_null() || config.contains(name)) config[name] = value;
  };
  set("bos_token_id", special.bos < 0 ? Json() : Json(special.bos));
  set("eos_token_id", special.eos.empty()       ? Json()
                      : special.eos.size() == 1 ? Json(special.eos[0])
                                                : Json(special.eos));
}

SpecialTokens FindSpecialTokens(const Checkpoint& checkpoint, const TokenizerFiles& files,
                                const Tokenizer& tokenizer) {
  Finder finder(tokenizer, checkpoint.path().string());
  std::vector<int32_t> bos;  // the first one counts
  SpecialTokens special;
  const auto add_ids = [&](const Json& object, const std::string& file) {
    AddTo(bos, finder.ByIds(object, "bos_token_id", file));
    AddTo(special.eos, finder.ByIds(object, "eos_token_id", file));
  };
  const std::optional<int32_t> tokenizer_bos = finder.ByName(files, "bos_token");
  const std::optional<int32_t> tokenizer_eos = finder.ByName(files, "eos_token");
  if (checkpoint.format() == Checkpoint::Format::kGguf) {
    const Json& metadata = checkpoint.metadata();
    AddTo(bos, finder.ByIds(metadata, "tokenizer.ggml.bos_token_id", "metadata"));
    for (const char* name : {"eos", "eot", "eom"}) {
      const std::string field = fmt::format("tokenizer.ggml.{}_token_id", name);
      AddTo(special.eos, finder.ByIds(metadata, field, "metadata"));
    }
  } else {
    add_ids(checkpoint.metadata(), "config.json");
    const std::filesystem::path generation = checkpoint.path() / "generation_config.json";
    if (Exists(generation)) {
      add_ids(ReadJsonFile(generation), "generation_config.json");
    }
  }
  if (tokenizer_bos) AddTo(bos, {*tokenizer_bos});
  if (tokenizer_eos) AddTo(special.eos, {*tokenizer_eos});
  if (!bos.empty()) special.bos = bos[0];
  // The tokenizer's before the configs', as evaluation harnesses have it.
  std::vector<int32_t> starts;
  if (tokenizer_bos) starts.push_back(*tokenizer_bos);
  if (tokenizer_eos) starts.push_back(*tokenizer_eos);
  AddTo(starts, bos);
  AddTo(starts, special.eos);
  if (!starts.empty()) special.start = starts[0];
  special.warning = finder.Warning();
  return special;
}

}  // namespace fptq
