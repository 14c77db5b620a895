#include "text/jinja/search.h"

#include <algorithm>

namespace fptq::jinja {

Searcher::Searcher(TextView part) : part_(part), fallback_(part.size() + 1) {
  for (size_t i = 1, border = 0; i < part.size(); ++i) {
    while (border > 0 && !CharTraits::eq(part[i], part[border])) border = fallback_[border];
    if (CharTraits::eq(part[i], part[border])) ++border;
    fallback_[i + 1] = border;
  }
}

size_t Searcher::Find(TextView text, size_t from) const {
  size_t matched = 0;
  for (size_t i = from; i < text.size(); ++i) {
    while (matched > 0 && !CharTraits::eq(text[i], part_[matched])) matched = fallback_[matched];
    if (CharTraits::eq(text[i], part_[matched])) ++matched;
    if (matched == part_.size()) return i + 1 - matched;
  }
  return text.npos;
}

size_t Find(Heap& heap, TextView text, TextView part, size_t from) {
  if (from > text.size()) return text.npos;
  if (part.empty()) return from;
  heap.Work(text.size() - from + part.size());
  return Searcher(part).Find(text, from);
}

std::vector<size_t> FindAll(Heap& heap, TextView text, TextView part, size_t most,
                            bool from_right) {
  heap.Work(text.size() + part.size());
  if (from_right) {
    const Text reversed(text.rbegin(), text.rend()), reversed_part(part.rbegin(), part.rend());
    std::vector<size_t> found = FindAll(heap, reversed, reversed_part, most);
    for (size_t& i : found) i = text.size() - i - part.size();
    return found;
  }
  const Searcher searcher(part);
  std::vector<size_t> found;
  size_t from = 0;
  while (found.size() < most) {
    const size_t at = searcher.Find(text, from);
    if (at == text.npos) break;
    found.push_back(at);
    from = at + part.size();
  }
  return found;
}

}  // namespace fptq::jinja
