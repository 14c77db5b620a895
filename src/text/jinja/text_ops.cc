#include "text/jinja/text_ops.h"

#include <algorithm>
#include <limits>

#include "text/jinja/characters.h"
#include "text/jinja/search.h"

namespace fptq::jinja {

Text ReplaceText(Heap& heap, TextView text, TextView old_part, TextView new_part, int64_t count) {
  const size_t most = count < 0 ? std::numeric_limits<size_t>::max() : static_cast<size_t>(count);
  std::vector<size_t> at;
  if (old_part.empty()) {  // stands before each character and at the end
    for (size_t i = 0; i <= text.size() && i < most; ++i) at.push_back(i);
  } else {
    at = FindAll(heap, text, old_part, most);
  }
  heap.Copy(text.size() + at.size() * new_part.size());
  heap.CheckCharacters(text.size() + at.size() * new_part.size());
  Text out;
  size_t done = 0;
  for (const size_t i : at) {
    out.append(text.substr(done, i - done)).append(new_part);
    done = i + old_part.size();
  }
  return out.append(text.substr(done));
}

std::vector<TextView> SplitLines(TextView text, bool keep_ends) {
  std::vector<TextView> lines;
  while (!text.empty()) {
    const auto line_break = std::ranges::find_if(text, IsLineBreak);
    const auto length = static_cast<size_t>(line_break - text.begin());
    size_t end = std::min(length + 1, text.size());
    if (CodePoint(text[end - 1]) == U'\r' && end < text.size() && CodePoint(text[end]) == U'\n') {
      ++end;
    }
    lines.push_back(text.substr(0, keep_ends ? end : length));
    text.remove_prefix(end);
  }
  return lines;
}

}  // namespace fptq::jinja
