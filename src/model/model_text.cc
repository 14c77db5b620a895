#include "model/model_text.h"

#include <utility>

namespace fptq {

ModelText LoadText(const ModelSource& source) {
  TokenizerFiles files = source.LoadTokenizer();
  Tokenizer tokenizer(files, source.config().vocab);
  SpecialTokens special = FindSpecialTokens(source.checkpoint(), files, tokenizer);
  std::vector<std::string> warnings = source.warnings();
  warnings.insert(warnings.end(), files.warnings.begin(), files.warnings.end());
  if (!special.warning.empty()) warnings.push_back(special.warning);
  return {std::move(files), std::move(tokenizer), std::move(special), std::move(warnings)};
}

}  // namespace fptq
