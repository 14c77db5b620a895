#include "text/byte_trie.h"

#include <bit>
#include <utility>

#include "base/error.h"

namespace fptq {
namespace {

constexpr size_t kMaxNodes = size_t{1} << 24;
constexpr size_t kFirstEdges = 64;

uint32_t Key(int32_t node, char byte) {
  return static_cast<uint32_t>(node) << 8 | static_cast<uint8_t>(byte);
}

}  // namespace

ByteTrie::ByteTrie() : values_(1, kNone), edges_(kFirstEdges) {}

size_t ByteTrie::Probe(uint32_t key) const {
  constexpr uint32_t kGolden = 0x9e3779b9;  // 2^32 / golden ratio: Fibonacci hashing
  size_t slot = (key * kGolden) >> (32 - std::countr_zero(edges_.size()));
  while (edges_[slot].child != kNone && edges_[slot].key != key) {
    slot = (slot + 1) & (edges_.size() - 1);
  }
  return slot;
}

int32_t ByteTrie::Child(int32_t node, char byte) const {
  return edges_[Probe(Key(node, byte))].child;
}

int32_t& ByteTrie::Add(std::string_view text) {
  int32_t node = 0;
  for (const char byte : text) {
    const uint32_t key = Key(node, byte);
    Edge& edge = edges_[Probe(key)];
    if (edge.child == kNone) {
      if (values_.size() == kMaxNodes) {
        throw Error("tokenizer: the tokens have more than {} different beginnings", kMaxNodes);
      }
      edge = {key, static_cast<int32_t>(values_.size())};
      values_.push_back(kNone);
    }
    node = edge.child;
    if (2 * values_.size() > edges_.size()) {
      const std::vector<Edge> old = std::exchange(edges_, std::vector<Edge>(2 * edges_.size()));
      for (const Edge& moved : old) {
        if (moved.child != kNone) edges_[Probe(moved.key)] = moved;
      }
    }
  }
  return values_[static_cast<size_t>(node)];
}

}  // namespace fptq
