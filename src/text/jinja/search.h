// Finds texts in texts, in linear time whatever they are.
#pragma once

#include <vector>

#include "text/jinja/heap.h"

namespace fptq::jinja {

class Searcher {
 public:
  // `part` is not empty and must outlive the searcher.
  explicit Searcher(TextView part);

  // Where the first `part` in text[from, end) begins; npos if there is none.
  size_t Find(TextView text, size_t from) const;

 private:
  TextView part_;
  std::vector<size_t> fallback_;  // length of the longest border of each beginning of the part
};

// Python's text.find(part, from), with npos for -1.
size_t Find(Heap& heap, TextView text, TextView part, size_t from);
// Where parts that do not overlap begin, at most `most` of them; of the first from the left or,
// `from_right`, from the right, then in descending order. `part` is not empty.
std::vector<size_t> FindAll(Heap& heap, TextView text, TextView part, size_t most,
                            bool from_right = false);

}  // namespace fptq::jinja
