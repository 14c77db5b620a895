#include "io/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <ranges>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"

namespace fptq {
namespace {

static_assert(std::endian::native == std::endian::little, "files are read in place");

constexpr std::string_view kMagic = "GGUF";
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 30;
constexpr uint32_t kMaxDims = 4;
constexpr int kMaxArrayDepth = 4;
// A vocabulary of a million tokens has four million. Bounds memory: a value takes 16 bytes and more
// as Json, and as little as one in the file.
constexpr int64_t kMaxArrayElements = int64_t{1} << 24;

enum class ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

struct TypeId {
  uint32_t id;  // ggml_type
  DataType type;
};
constexpr TypeId kTensorTypes[] = {
    {0, DataType::kF32},     {1, DataType::kF16},     {2, DataType::kQ4_0},   {3, DataType::kQ4_1},
    {6, DataType::kQ5_0},    {7, DataType::kQ5_1},    {8, DataType::kQ8_0},   {10, DataType::kQ2_K},
    {11, DataType::kQ3_K},   {12, DataType::kQ4_K},   {13, DataType::kQ5_K},  {14, DataType::kQ6_K},
    {20, DataType::kIQ4_NL}, {23, DataType::kIQ4_XS}, {24, DataType::kI8},    {25, DataType::kI16},
    {26, DataType::kI32},    {27, DataType::kI64},    {28, DataType::kF64},   {30, DataType::kBF16},
    {34, DataType::kTQ1_0},  {35, DataType::kTQ2_0},  {39, DataType::kMXFP4},
};

// The bytes of a value, or of an empty string or array.
uint64_t MinBytes(ValueType type) {
  switch (type) {
    case ValueType::kU8:
    case ValueType::kI8:
    case ValueType::kBool:
      return 1;
    case ValueType::kU16:
    case ValueType::kI16:
      return 2;
    case ValueType::kU32:
    case ValueType::kI32:
    case ValueType::kF32:
      return 4;
    case ValueType::kU64:
    case ValueType::kI64:
    case ValueType::kF64:
    case ValueType::kString:
      return 8;
    case ValueType::kArray:
      return 12;
  }
  FPTQ_CHECK(false);
  return 0;
}

// Reads from front to back. `what` names the field in errors.
class Reader {
 public:
  Reader(std::span<const std::byte> file, std::string_view where) : file_(file), where_(where) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return file_.size() - offset_; }

  template <typename T>
  T Number(std::string_view what) {
    T value;
    std::memcpy(&value, Take(sizeof(T), what), sizeof(T));
    return value;
  }

  std::string String(std::string_view what) {
    const uint64_t length = Number<uint64_t>(what);
    const std::byte* bytes = Take(length, what);
    return ReplaceIllFormedUtf8({reinterpret_cast<const char*>(bytes), length});
  }

  Json Value(std::string_view what) { return ValueOf(ReadType(what), what, /*depth=*/0); }

  template <typename... Args>
  [[noreturn]] void Fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw Error("{}: {}", where_, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  const std::byte* Take(uint64_t bytes, std::string_view what) {
    if (bytes > remaining()) {
      Fail("{}: expected {} bytes at offset {}, found {}", what, bytes, offset_, remaining());
    }
    const std::byte* taken = file_.data() + offset_;
    offset_ += bytes;
    return taken;
  }

  ValueType ReadType(std::string_view what) {
    const uint32_t type = Number<uint32_t>(what);
    if (type > static_cast<uint32_t>(ValueType::kF64)) {
      Fail("{}: value type {} is not known", what, type);
    }
    return static_cast<ValueType>(type);
  }

  Json ValueOf(ValueType type, std::string_view what, int depth) {
    switch (type) {
      case ValueType::kU8:
        return Number<uint8_t>(what);
      case ValueType::kI8:
        return Number<int8_t>(what);
      case ValueType::kU16:
        return Number<uint16_t>(what);
      case ValueType::kI16:
        return Number<int16_t>(what);
      case ValueType::kU32:
        return Number<uint32_t>(what);
      case ValueType::kI32:
        return Number<int32_t>(what);
      case ValueType::kF32:
        return Number<float>(what);
      case ValueType::kU64:
        return Number<uint64_t>(what);
      case ValueType::kI64:
        return Number<int64_t>(what);
      case ValueType::kF64:
        return Number<double>(what);
      case ValueType::kString:
        return String(what);
      case ValueType::kArray:
        return Array(what, depth + 1);
      case ValueType::kBool: {
        const uint8_t value = Number<uint8_t>(what);
        if (value > 1) Fail("{}: expected a bool of 0 or 1, found {}", what, value);
        return value == 1;
      }
    }
    FPTQ_CHECK(false);
    return {};
  }

  Json Array(std::string_view what, int depth) {
    if (depth > kMaxArrayDepth) Fail("{}: arrays nested deeper than {}", what, kMaxArrayDepth);
    const ValueType type = ReadType(what);
    const uint64_t count = Number<uint64_t>(what);
    if (count > remaining() / MinBytes(type)) {
      Fail("{}: an array of {} elements goes past the end of the file", what, count);
    }
    array_elements_ += static_cast<int64_t>(count);
    if (array_elements_ > kMaxArrayElements) {
      Fail("{}: more than {} array elements in the metadata", what, kMaxArrayElements);
    }
    Json array = Json::array();
    array.get_ref<Json::array_t&>().reserve(count);
    for (uint64_t i = 0; i < count; ++i) array.push_back(ValueOf(type, what, depth));
    return array;
  }

  std::span<const std::byte> file_;
  std::string_view where_;
  uint64_t offset_ = 0;
  int64_t array_elements_ = 0;
};

struct TensorInfo {
  std::string name;
  TensorView view;  // bytes come when the place of the data is known
  uint64_t offset;
  uint64_t bytes;
};

Json ReadMetadata(Reader& reader, uint64_t count) {
  Json metadata = Json::object();
  auto& fields = metadata.get_ref<Json::object_t&>();
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < count; ++i) {
    std::string name = reader.String(fmt::format("metadata key {}", i));
    const std::string what = fmt::format("'{}'", name);
    if (!names.insert(name).second) reader.Fail("{} stands there twice", what);
    fields.emplace_back(std::move(name), reader.Value(what));
  }
  return metadata;
}

DataType ParseType(const Reader& reader, uint32_t id, std::string_view what) {
  const auto row = std::ranges::find(kTensorTypes, id, &TypeId::id);
  if (row == std::end(kTensorTypes)) {
    std::string names;
    for (const TypeId& known : kTensorTypes) {
      names.append(names.empty() ? "" : ", ").append(DataTypeName(known.type));
    }
    reader.Fail("{}: tensor type {} is not supported; supported: {}", what, id, names);
  }
  return row->type;
}

TensorInfo ReadTensorInfo(Reader& reader, uint64_t index) {
  TensorInfo info;
  info.name = reader.String(fmt::format("name of tensor {}", index));
  const std::string what = fmt::format("tensor '{}'", info.name);
  const uint32_t dims = reader.Number<uint32_t>(what);
  if (dims < 1 || dims > kMaxDims) {
    reader.Fail("{}: expected 1 to {} dimensions, found {}", what, kMaxDims, dims);
  }
  info.view.shape.resize(dims);
  for (int64_t& dim : info.view.shape | std::views::reverse) {
    dim = reader.Number<int64_t>(what);
    if (dim < 1) reader.Fail("{}: dimension {} is not positive", what, dim);
  }
  info.view.type = ParseType(reader, reader.Number<uint32_t>(what), what);
  const BlockSize block = BlockSizeOf(info.view.type);
  if (info.view.shape.back() % block.elements != 0) {
    reader.Fail("{}: expected rows of a multiple of {} elements for {}, found {}", what,
                block.elements, DataTypeName(info.view.type), ShapeString(info.view.shape));
  }
  int64_t bytes = CheckedMultiply(info.view.shape.back() / block.elements, block.bytes, what);
  for (const int64_t dim : std::span(info.view.shape).first(dims - 1)) {
    bytes = CheckedMultiply(bytes, dim, what);
  }
  info.bytes = static_cast<uint64_t>(bytes);
  info.offset = reader.Number<uint64_t>(what);
  return info;
}

uint64_t ReadAlignment(const Reader& reader, const Json& metadata) {
  const auto it = metadata.find("general.alignment");
  if (it == metadata.end()) return kDefaultAlignment;
  const uint64_t alignment = it->is_number_unsigned() ? it->get<uint64_t>() : 0;
  if (alignment == 0 || alignment % 8 != 0 || alignment > kMaxAlignment) {
    reader.Fail("'general.alignment': expected a multiple of 8 up to {}, found {}", kMaxAlignment,
                it->is_number() ? it->dump() : it->type_name());
  }
  return alignment;
}

// Sets the tensors' bytes: inside of `data`, aligned, and none in another.
void PlaceTensors(const Reader& reader, std::vector<TensorInfo>& infos,
                  std::span<const std::byte> data, uint64_t alignment) {
  std::ranges::sort(infos, {}, &TensorInfo::offset);
  uint64_t end = 0;
  for (TensorInfo& info : infos) {
    if (info.offset % alignment != 0) {
      reader.Fail("tensor '{}': offset {} is not a multiple of the alignment {}", info.name,
                  info.offset, alignment);
    }
    if (info.offset > data.size() || info.bytes > data.size() - info.offset) {
      reader.Fail("tensor '{}': expected {} bytes at offset {} of the data, found {} in all",
                  info.name, info.bytes, info.offset, data.size());
    }
    if (info.offset < end) {
      reader.Fail("tensor '{}': at offset {} it overlaps another, which ends at {}", info.name,
                  info.offset, end);
    }
    end = info.offset + info.bytes;
    info.view.bytes = data.subspan(info.offset, info.bytes);
  }
}

}  // namespace

GgufSplit ParseGgufSplit(const Json& metadata, std::string_view where) {
  constexpr int64_t kMaxParts = 65535, kMaxTensors = int64_t{1} << 40;
  const JsonFields fields(metadata, std::string(where));
  GgufSplit split;
  split.count = std::max<int64_t>(1, fields.IntOr("split.count", 1, 0, kMaxParts));
  split.part = fields.IntOr("split.no", 0, 0, split.count - 1);
  split.tensors = fields.IntOr("split.tensors.count", -1, 0, kMaxTensors);
  return split;
}

bool IsGguf(std::span<const std::byte> file) {
  return file.size() >= kMagic.size() &&
         std::memcmp(file.data(), kMagic.data(), kMagic.size()) == 0;
}

GgufContents ParseGguf(std::span<const std::byte> file, std::string_view where) {
  Reader reader(file, where);
  reader.Number<uint32_t>("magic");
  if (!IsGguf(file)) reader.Fail("expected the magic bytes {}", kMagic);
  const uint32_t version = reader.Number<uint32_t>("version");
  if (version != 2 && version != 3) reader.Fail("expected GGUF version 2 or 3, found {}", version);
  const uint64_t tensor_count = reader.Number<uint64_t>("tensor count");
  const uint64_t metadata_count = reader.Number<uint64_t>("metadata count");

  GgufContents contents;
  contents.metadata = ReadMetadata(reader, metadata_count);
  const uint64_t alignment = ReadAlignment(reader, contents.metadata);
  std::vector<TensorInfo> infos;
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < tensor_count; ++i) {
    infos.push_back(ReadTensorInfo(reader, i));
    if (!names.insert(infos.back().name).second) {
      reader.Fail("tensor '{}' stands there twice", infos.back().name);
    }
  }
  const uint64_t data_begin = (reader.offset() + alignment - 1) / alignment * alignment;
  PlaceTensors(reader, infos, file.subspan(std::min<uint64_t>(data_begin, file.size())), alignment);
  for (TensorInfo& info : infos) {
    contents.tensors.emplace(std::move(info.name), std::move(info.view));
  }
  return contents;
}

}  // namespace fptq
