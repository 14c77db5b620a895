#include "text/token_map.h"

#include <bit>
#include <functional>

namespace fptq {
namespace {

size_t Hash(std::string_view token) { return std::hash<std::string_view>()(token); }
uint32_t Tag(size_t hash) { return static_cast<uint32_t>(hash >> 32); }

}  // namespace

TokenMap::TokenMap(size_t expected) { Resize(std::bit_ceil(2 * expected + 2)); }

// The slot of the token, or the empty one where it would be.
size_t TokenMap::Probe(std::string_view token_text, size_t hash) const {
  size_t slot = hash & (slots_.size() - 1);
  while (slots_[slot].entry >= 0) {
    if (slots_[slot].tag == Tag(hash) &&
        token(static_cast<size_t>(slots_[slot].entry)) == token_text) {
      break;
    }
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

void TokenMap::Resize(size_t slots) {
  slots_.assign(slots, Slot());
  for (size_t i = 0; i < entries_.size(); ++i) {
    const size_t hash = Hash(token(i));
    slots_[Probe(token(i), hash)] = {Tag(hash), static_cast<int32_t>(i)};
  }
}

bool TokenMap::Add(std::string_view token_text, int32_t id) {
  const size_t hash = Hash(token_text);
  size_t slot = Probe(token_text, hash);
  if (slots_[slot].entry >= 0) return false;
  if (2 * (entries_.size() + 1) > slots_.size()) {
    Resize(2 * slots_.size());
    slot = Probe(token_text, hash);
  }
  slots_[slot] = {Tag(hash), static_cast<int32_t>(entries_.size())};
  entries_.push_back({texts_.size(), token_text.size(), id});
  texts_ += token_text;
  return true;
}

std::optional<int32_t> TokenMap::Find(std::string_view token_text) const {
  const Slot& slot = slots_[Probe(token_text, Hash(token_text))];
  if (slot.entry < 0) return std::nullopt;
  return entries_[static_cast<size_t>(slot.entry)].id;
}

}  // namespace fptq
