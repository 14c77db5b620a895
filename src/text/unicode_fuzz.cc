#include "base/error.h"
#include "base/fuzz/target.h"
#include "base/utf8.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace fptq {

FPTQ_FUZZ_TARGET(unicode, kBytes) {
  const std::string text = ReplaceIllFormedUtf8(input);
  for (const NormalForm form : {NormalForm::kC, NormalForm::kD, NormalForm::kKC, NormalForm::kKD}) {
    const std::string normal = Normalize(form, text);
    FPTQ_CHECK(ReplaceIllFormedUtf8(normal) == normal);
    FPTQ_CHECK(Normalize(form, normal) == normal);
  }
  std::string graphemes;
  ForEachGrapheme(text, [&](std::string_view grapheme) { graphemes += grapheme; });
  FPTQ_CHECK(graphemes == text);
  FPTQ_CHECK(LeadingWhitespace(text) <= text.size() && TrailingWhitespace(text) <= text.size());
  if (!text.empty()) FPTQ_CHECK(text.ends_with(LastCharacter(text)));
}

// Well-formed text comes out of a stream as it went in, however it was cut.
FPTQ_FUZZ_TARGET(utf8_stream, kBytes) {
  if (input.empty()) return;
  const size_t step = static_cast<unsigned char>(input[0]) % 7 + 1;
  input.remove_prefix(1);
  const std::string text = ReplaceIllFormedUtf8(input);
  const auto stream = [&](std::string_view bytes) {
    Utf8Stream stream;
    std::string out;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(step, bytes.size()))) {
      out += stream.Push(bytes.substr(0, step));
    }
    return out + stream.Finish();
  };
  FPTQ_CHECK(stream(text) == text);
  const std::string replaced = stream(input);
  FPTQ_CHECK(ReplaceIllFormedUtf8(replaced) == replaced);
}

}  // namespace fptq
