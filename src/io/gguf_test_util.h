// GGUF files for tests, byte by byte.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "files/mapped_file.h"
#include "io/gguf.h"

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
namespace gguf_types {
inline constexpr uint32_t kU16 = 2, kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8,
                          kArray = 9, kU64 = 10;
}  // namespace gguf_types

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

// A GGUF file to be changed and written again. Integers become I32 or U32, other numbers F32.
struct GgufModel {
  struct TensorData {
    std::vector<int64_t> shape;  // outermost first
    DataType type = DataType::kF32;
    std::string bytes;
  };
  Json metadata;
  std::map<std::string, TensorData> tensors;

  void AddTensor(const std::string& name, const std::vector<float>& values) {
    std::string bytes(reinterpret_cast<const char*>(values.data()), 4 * values.size());
    tensors[name] = {{static_cast<int64_t>(values.size())}, DataType::kF32, std::move(bytes)};
  }
};

// The type and the bytes of a value.
inline std::pair<uint32_t, std::string> GgufTypedValue(const Json& value) {
  using namespace gguf_types;
  if (value.is_boolean()) return {kBool, std::string(1, value.get<bool>() ? 1 : 0)};
  if (value.is_number_unsigned()) return {kU32, U32(value.get<uint32_t>())};
  if (value.is_number_integer()) return {kI32, Bytes(value.get<int32_t>())};
  if (value.is_number()) return {kF32, Bytes(value.get<float>())};
  if (value.is_string()) return {kString, Str(value.get<std::string>())};
  FPTQ_CHECK(value.is_array());
  uint32_t type = kU32;
  std::string elements;
  for (const Json& element : value) {
    auto [element_type, bytes] = GgufTypedValue(element);
    type = element_type;
    elements += bytes;
  }
  return {kArray, Array(type, value.size(), elements)};
}

// Writes `from`, changed by `change`, to `to`.
inline void EditGguf(const std::filesystem::path& from, const std::filesystem::path& to,
                     const std::function<void(GgufModel&)>& change) {
  const MappedFile file(from);
  GgufContents contents = ParseGguf(file.bytes(), from.string());
  GgufModel model{.metadata = std::move(contents.metadata), .tensors = {}};
  for (const auto& [name, view] : contents.tensors) {
    model.tensors[name] = {
        view.shape, view.type,
        std::string(reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size())};
  }
  change(model);
  Parts parts;
  for (const auto& [key, value] : model.metadata.items()) {
    const auto [type, bytes] = GgufTypedValue(value);
    parts.pairs.push_back(Pair(key, type, bytes));
  }
  std::string data;
  for (const auto& [name, tensor] : model.tensors) {
    const std::vector<uint64_t> dims(tensor.shape.rbegin(), tensor.shape.rend());
    FPTQ_CHECK(tensor.type == DataType::kF32 || tensor.type == DataType::kF16);
    parts.tensors.push_back(Tensor(name, dims, tensor.type == DataType::kF32 ? 0 : 1, data.size()));
    data += tensor.bytes;
    data.resize((data.size() + 31) / 32 * 32);
  }
  std::ofstream(to, std::ios::binary) << File(parts) << data;
}

}  // namespace fptq
