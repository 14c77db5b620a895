// The step that rewrites text before it is cut into words.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/regex.h"
#include "text/character_map.h"
#include "text/unicode.h"

namespace fptq {

// The "normalizer" of tokenizer.json.
class Normalizer {
 public:
  Normalizer() = default;  // none
  // Error naming whatever `spec` asks for that is not implemented.
  Normalizer(const Json& spec, const std::string& where);

  // `text` is well-formed UTF-8. Error if the steps make it many times longer.
  std::string Apply(std::string_view text) const;
  // The same, where `marks` are positions in `text`, ascending: they become those in the result.
  // Nothing if that cannot be told, as where a character before a mark merges with one behind it.
  std::optional<std::string> Apply(std::string_view text, std::span<size_t> marks) const;

 private:
  enum class Kind { kForm, kCharacterMap, kStrip, kPrepend, kReplace };
  struct Step {
    Kind kind;
    NormalForm form = NormalForm::kC;              // kForm
    std::optional<CharacterMap> map = {};          // kCharacterMap
    bool strip_left = false, strip_right = false;  // kStrip
    std::optional<Regex> pattern = {};             // kReplace
    std::string content = {};                      // kPrepend, kReplace: what is put there
  };
  static Step ParseStep(const JsonFields& spec);
  void Parse(const Json& spec, const std::string& where);
  static std::string ApplyStep(const Step& step, std::string_view text, size_t max_bytes);

  std::vector<Step> steps_;
};

// The "pattern" of a Replace or Split: a regular expression or a string.
std::string ParsePattern(const JsonFields& spec);

}  // namespace fptq
