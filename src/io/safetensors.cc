#include "io/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "base/error.h"

namespace fptq {
namespace {

static_assert(std::endian::native == std::endian::little, "files are read in place");

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr std::string_view kMetadata = "__metadata__";

constexpr DataType kTypes[] = {
    DataType::kF64,  DataType::kF32,    DataType::kF16,    DataType::kBF16,
    DataType::kI64,  DataType::kI32,    DataType::kI16,    DataType::kI8,
    DataType::kU64,  DataType::kU32,    DataType::kU16,    DataType::kU8,
    DataType::kBool, DataType::kF8E4M3, DataType::kF8E5M2, DataType::kF8E8M0};

// Bytes [begin, end) of the data that follows the header.
struct Entry {
  std::string name;
  int64_t begin;
  int64_t end;
};

int64_t TensorBytes(DataType type, std::span<const int64_t> shape, std::string_view where) {
  int64_t bytes = BlockSizeOf(type).bytes;
  for (const int64_t dim : shape) bytes = CheckedMultiply(bytes, dim, where);
  return bytes;
}

std::string_view HeaderText(std::span<const std::byte> file, std::string_view where) {
  if (file.size() < kLengthBytes) {
    throw Error("{}: expected a header length of {} bytes, found {} bytes in all", where,
                kLengthBytes, file.size());
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length == 0 || length > kMaxHeaderBytes) {
    throw Error("{}: expected a header of 1 to {} bytes, found {}", where, kMaxHeaderBytes, length);
  }
  if (length > file.size() - kLengthBytes) {
    throw Error("{}: the header of {} bytes goes past the end of the file ({} bytes)", where,
                length, file.size());
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
  if (text[0] != '{') throw Error("{}: the header is not a JSON object", where);
  return text;
}

void CheckMetadata(const Json& metadata, std::string_view where) {
  if (!metadata.is_object()) throw Error("{}: {} is not an object", where, kMetadata);
  for (const auto& [name, value] : metadata.items()) {
    if (!value.is_string()) throw Error("{}: {}: '{}' is not a string", where, kMetadata, name);
  }
}

int64_t ParseSize(const Json& value, std::string_view where, std::string_view what) {
  if (!value.is_number_unsigned() || !std::in_range<int64_t>(value.get<uint64_t>())) {
    throw Error("{}: {}: expected integers of 0 to 2^63-1", where, what);
  }
  return value.get<int64_t>();
}

// Tensors must fill the data without gap or overlap.
void CheckLayout(std::vector<Entry> entries, int64_t data_bytes, std::string_view where) {
  std::ranges::sort(entries, {}, [](const Entry& e) { return std::pair(e.begin, e.end); });
  int64_t end = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != end) {
      throw Error("{}: tensor '{}': expected to begin at offset {}, found {}: {}", where,
                  entry.name, end, entry.begin, entry.begin < end ? "an overlap" : "a gap");
    }
    end = entry.end;
  }
  if (end != data_bytes) {
    throw Error("{}: expected {} bytes of tensors, found {}", where, end, data_bytes);
  }
}

}  // namespace

DataType ParseDtype(const JsonFields& entry) {
  const std::string name = entry.String("dtype");
  const auto type = std::ranges::find(kTypes, name, DataTypeName);
  if (type == std::end(kTypes)) throw Error("{}: dtype '{}' is not supported", entry.where(), name);
  return *type;
}

std::vector<int64_t> ParseShape(const JsonFields& entry) {
  std::vector<int64_t> shape;
  for (const Json& dim : entry.Array("shape")) {
    shape.push_back(ParseSize(dim, entry.where(), "shape"));
  }
  return shape;
}

std::map<std::string, TensorView, std::less<>> ParseSafetensors(std::span<const std::byte> file,
                                                                std::string_view where) {
  const std::string_view text = HeaderText(file, where);
  const Json header = ParseJson(text, where, DuplicateKeys::kError);
  const std::span<const std::byte> data = file.subspan(kLengthBytes + text.size());
  const int64_t data_bytes = static_cast<int64_t>(data.size());
  std::map<std::string, TensorView, std::less<>> tensors;
  std::vector<Entry> entries;
  for (const auto& [name, json] : header.items()) {
    if (name == kMetadata) {
      CheckMetadata(json, where);
      continue;
    }
    const JsonFields fields(json, fmt::format("{}: tensor '{}'", where, name));
    TensorView view;
    view.type = ParseDtype(fields);
    view.shape = ParseShape(fields);
    const Json& offsets = fields.Array("data_offsets");
    if (offsets.size() != 2) {
      throw Error("{}: data_offsets: expected 2 numbers, found {}", fields.where(), offsets.size());
    }
    const int64_t begin = ParseSize(offsets[0], fields.where(), "data_offsets");
    const int64_t end = ParseSize(offsets[1], fields.where(), "data_offsets");
    if (begin > end || end > data_bytes) {
      throw Error("{}: the offsets {} to {} do not lie in the {} bytes of data", fields.where(),
                  begin, end, data_bytes);
    }
    const int64_t bytes = TensorBytes(view.type, view.shape, fields.where());
    if (bytes != end - begin) {
      throw Error("{}: expected {} bytes for {} {}, found {}", fields.where(), bytes,
                  DataTypeName(view.type), ShapeString(view.shape), end - begin);
    }
    view.bytes = data.subspan(static_cast<size_t>(begin), static_cast<size_t>(bytes));
    entries.push_back({name, begin, end});
    tensors.emplace(name, std::move(view));
  }
  CheckLayout(std::move(entries), data_bytes, where);
  return tensors;
}

int64_t SafetensorsWriter::Tensor::Bytes() const { return TensorBytes(type, shape, name); }

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<Tensor> tensors)
    : file_(path), tensors_(std::move(tensors)) {
  Json header = {{kMetadata, {{"format", "pt"}}}};
  auto& fields = header.get_ref<Json::object_t&>();
  int64_t begin = 0;
  for (const Tensor& tensor : tensors_) {
    FPTQ_CHECK(std::ranges::find(kTypes, tensor.type) != std::end(kTypes));
    const int64_t end = begin + tensor.Bytes();
    fields.emplace_back(tensor.name, Json{{"dtype", DataTypeName(tensor.type)},
                                          {"shape", tensor.shape},
                                          {"data_offsets", {begin, end}}});
    begin = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  file_.Write(std::as_bytes(std::span(&length, 1)));
  file_.Write(text);
  SkipComplete();
}

void SafetensorsWriter::Write(std::string_view name, std::span<const std::byte> bytes) {
  FPTQ_CHECK(current_ < tensors_.size());
  FPTQ_CHECK(tensors_[current_].name == name);
  file_.Write(bytes);
  written_ += static_cast<int64_t>(bytes.size());
  SkipComplete();
}

void SafetensorsWriter::SkipComplete() {
  for (; current_ < tensors_.size(); ++current_, written_ = 0) {
    const Tensor& tensor = tensors_[current_];
    const int64_t bytes = tensor.Bytes();
    FPTQ_CHECK(written_ <= bytes);
    if (written_ < bytes) return;
  }
}

void SafetensorsWriter::Close() {
  FPTQ_CHECK(current_ == tensors_.size());
  file_.Close();
}

}  // namespace fptq
