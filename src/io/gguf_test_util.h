// GGUF files for tests, byte by byte.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace fptq {

// Little-endian bytes of GGUF's primitives.
template <typename T>
std::string Bytes(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}
inline std::string U32(uint32_t value) { return Bytes(value); }
inline std::string U64(uint64_t value) { return Bytes(value); }
inline std::string Str(std::string_view text) { return U64(text.size()) + std::string(text); }
inline std::string Array(uint32_t type, uint64_t count, std::string_view elements) {
  return U32(type) + U64(count) + std::string(elements);
}
inline constexpr uint32_t kU16 = 2, kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8,
                          kArray = 9, kU64 = 10;

inline std::string Pair(std::string_view key, uint32_t type, std::string_view value) {
  return Str(key) + U32(type) + std::string(value);
}
// Dimensions innermost first, as in the file.
inline std::string Tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                          uint64_t offset) {
  std::string info = Str(name) + U32(static_cast<uint32_t>(dims.size()));
  for (const uint64_t dim : dims) info += U64(dim);
  return info + U32(type) + U64(offset);
}

struct Parts {
  uint32_t version = 3;
  std::vector<std::string> tensors = {};
  std::vector<std::string> pairs = {};
  size_t data_bytes = 0;
};

inline std::string File(const Parts& parts, size_t alignment = 32) {
  std::string file =
      "GGUF" + U32(parts.version) + U64(parts.tensors.size()) + U64(parts.pairs.size());
  for (const std::string& pair : parts.pairs) file += pair;
  for (const std::string& tensor : parts.tensors) file += tensor;
  file.resize((file.size() + alignment - 1) / alignment * alignment);
  return file + std::string(parts.data_bytes, 'x');
}

}  // namespace fptq
