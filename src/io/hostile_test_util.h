// Tests of parsers against damaged files.
#pragma once

#include <cstddef>
#include <map>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/tensor.h"
#include "io/checkpoint.h"

namespace fptq {

// A copy on the heap of exactly this size, so that AddressSanitizer sees whatever goes beyond it.
inline std::vector<std::byte> HeapCopy(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  return {bytes.begin(), bytes.end()};
}

// Every tensor must be as large as it says, inside of `file`, and readable.
inline bool TensorsAreSound(const std::map<std::string, TensorView, std::less<>>& tensors,
                            std::span<const std::byte> file) {
  unsigned sum = 0;
  for (const auto& [name, view] : tensors) {
    const BlockSize block = BlockSizeOf(view.type);
    const auto size = static_cast<size_t>(view.ElementCount() / block.elements * block.bytes);
    if (view.bytes.size() != size || size > file.size()) return false;
    for (const std::byte b : view.bytes) sum += std::to_integer<unsigned>(b);
  }
  volatile unsigned sink = sum;  // the bytes are really read
  static_cast<void>(sink);
  return true;
}

// Reads all of them as floats, whatever their types are.
inline void DequantizeAll(const std::map<std::string, TensorView, std::less<>>& tensors) {
  for (const auto& [name, view] : tensors) {
    const int64_t block = BlockSizeOf(view.type).elements;
    std::vector<float> values(static_cast<size_t>(block));
    try {
      for (int64_t i = 0; i < view.ElementCount(); i += block) DequantizeRange(view, i, values);
    } catch (const Error&) {  // an integer type
    }
  }
}

// Calls parse(bytes) on copies of `valid` with a few random bytes changed. It must return true
// (what was parsed is sound) or throw an Error. Returns how many were refused.
template <typename Parse>
int Fuzz(std::string_view valid, int rounds, Parse&& parse) {
  std::mt19937 random(1);
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::byte> bytes = HeapCopy(valid);
    for (unsigned changes = random() % 4 + 1; changes > 0; --changes) {
      bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    }
    try {
      FPTQ_CHECK(parse(bytes));
    } catch (const Error&) {
      ++refused;
    }
  }
  return refused;
}

}  // namespace fptq
