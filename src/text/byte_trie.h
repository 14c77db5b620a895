// Texts that are looked for at a place in a text.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace fptq {

// A trie over bytes. Node 0 is the root; edges lie in a hash table with linear probing, at most
// half full.
class ByteTrie {
 public:
  static constexpr int32_t kNone = -1;

  ByteTrie();

  // The value of `text`, kNone if it is new: to be read, or to be set to one of 0 and above, until
  // another text comes. Error if the texts are too many and too long: more than 2^24 nodes.
  int32_t& Add(std::string_view text);

  int32_t Child(int32_t node, char byte) const;  // kNone: none
  int32_t value(int32_t node) const { return values_[static_cast<size_t>(node)]; }

  // Calls found(value, length) for all texts that `text` begins with, but an empty one, the
  // shortest first.
  template <typename Found>
  void FindPrefixes(std::string_view text, Found found) const {
    int32_t node = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      node = Child(node, text[i]);
      if (node == kNone) return;
      if (value(node) != kNone) found(value(node), i + 1);
    }
  }

 private:
  struct Edge {
    uint32_t key;  // node * 256 + byte
    int32_t child = kNone;
  };
  size_t Probe(uint32_t key) const;

  std::vector<int32_t> values_;  // by node
  std::vector<Edge> edges_;
};

}  // namespace fptq
