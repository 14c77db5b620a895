// Tokens and their ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fptq {

// A hash table with linear probing, at most half full, over texts that lie one behind the other: a
// look-up touches the text of no other token, and there are a million of them when a vocabulary of
// 262,144 is loaded.
class TokenMap {
 public:
  TokenMap() : TokenMap(0) {}
  explicit TokenMap(size_t expected);  // how many tokens will come; more are welcome

  // False, and nothing changes, if the token is there.
  bool Add(std::string_view token, int32_t id);
  std::optional<int32_t> Find(std::string_view token) const;
  bool Contains(std::string_view token) const { return Find(token).has_value(); }

  size_t size() const { return entries_.size(); }
  // In the order in which they came; the views are valid until another one comes.
  std::string_view token(size_t i) const {
    return std::string_view(texts_).substr(entries_[i].begin, entries_[i].size);
  }
  int32_t id(size_t i) const { return entries_[i].id; }

 private:
  struct Entry {
    size_t begin;  // in texts_
    size_t size;
    int32_t id;
  };
  struct Slot {
    uint32_t tag = 0;    // of the hash, the bits that do not place it
    int32_t entry = -1;  // none
  };
  size_t Probe(std::string_view token, size_t hash) const;
  void Resize(size_t slots);

  std::string texts_;
  std::vector<Entry> entries_;
  std::vector<Slot> slots_;
};

}  // namespace fptq
