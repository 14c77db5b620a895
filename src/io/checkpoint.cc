#include "io/checkpoint.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "files/json_file.h"
#include "files/mapped_file.h"
#include "files/paths.h"
#include "io/dequantize.h"
#include "io/gguf.h"
#include "io/safetensors.h"

namespace fptq {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kSingleFile = "model.safetensors";
constexpr std::string_view kAdapter = "adapter_config.json";
constexpr std::string_view kNamedWeights = "transformers_weights";
constexpr std::string_view kIndex = "model.safetensors.index.json";

// A file name without a folder: an index must not lead out of its own.
bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

// A file of `folder` with this extension; empty if there is none.
fs::path FindByExtension(const fs::path& folder, std::string_view extension) {
  for (const fs::path& path : EntriesOf(folder)) {
    if (path.extension() == extension) return path;
  }
  return {};
}

class HuggingFaceCheckpoint : public Checkpoint {
 public:
  explicit HuggingFaceCheckpoint(const fs::path& folder)
      : Checkpoint(Format::kHuggingFace, folder) {
    ReadConfig();
    const bool has_index = Exists(folder / kIndex);
    const JsonFields config(metadata_, (folder / kConfig).string());
    if (config.Has(kNamedWeights)) {
      ReadNamedWeights(config);
    } else if (Exists(folder / kSingleFile)) {
      AddShard(std::string(kSingleFile));
      if (has_index) {
        warnings_.push_back(fmt::format("{}: there are both {} and {}; the first is read",
                                        folder.string(), kSingleFile, kIndex));
      }
    } else if (has_index) {
      ReadShards(std::string(kIndex));
    } else {
      FailWithoutTensors();
    }
    if (Exists(folder / kAdapter)) {
      warnings_.push_back(
          fmt::format("{}: the adapter is not read, which transformers adds to the "
                      "weights: merge it into them to have it",
                      (folder / kAdapter).string()));
    }
  }

 private:
  void ReadConfig() {
    if (!Exists(path_ / kConfig)) {
      const fs::path gguf = FindByExtension(path_, ".gguf");
      if (gguf.empty()) throw Error("{}: there is no {}", path_.string(), kConfig);
      throw Error("{}: there is no {}; for a GGUF model name the file itself: {}", path_.string(),
                  kConfig, gguf.string());
    }
    metadata_ = ReadJsonFile(path_ / kConfig);
    if (!metadata_.is_object()) {
      throw Error("{}: expected an object, found {}", (path_ / kConfig).string(),
                  metadata_.type_name());
    }
  }

  // Those that config.json names, as it may to transformers.
  void ReadNamedWeights(const JsonFields& config) {
    const std::string name = config.String(kNamedWeights);
    if (!IsPlainFileName(name)) {
      throw Error("{}: {}: expected the name of a file in the same folder, found '{}'",
                  config.where(), kNamedWeights, name);
    }
    name.ends_with(".json") ? ReadShards(name) : AddShard(name);
  }

  [[noreturn]] void FailWithoutTensors() {
    if (const fs::path bin = FindByExtension(path_, ".bin"); !bin.empty()) {
      throw Error("{}: is a PyTorch checkpoint; only safetensors and GGUF are read", bin.string());
    }
    const fs::path other = FindByExtension(path_, ".safetensors");
    throw Error("{}: there is neither {} nor {}{}", path_.string(), kSingleFile, kIndex,
                other.empty() ? "" : ", only " + other.filename().string());
  }

  // Takes the tensors of a file of the folder.
  void AddShard(const std::string& name) {
    files_.emplace_back(path_ / name);
    for (auto& [tensor, view] :
         ParseSafetensors(files_.back().bytes(), files_.back().path().string())) {
      const auto [known, is_new] = tensors_.emplace(tensor, std::move(view));
      if (!is_new && !SameContent(known->second, view)) {
        throw Error("{}: tensor '{}' is in another file, too, with other content",
                    files_.back().path().string(), tensor);
      }
    }
  }

  // Takes the tensors of the files that the index names: those, too, that it does not name.
  void ReadShards(const std::string& index_name) {
    const std::string where = (path_ / index_name).string();
    const Json index = ReadJsonFile(where);
    std::set<std::string> shards;
    for (const auto& [name, file] : JsonFields(index, where).Object("weight_map").items()) {
      if (!file.is_string() || !IsPlainFileName(file.get_ref<const std::string&>())) {
        throw Error("{}: tensor '{}': expected the name of a file in the same folder, found {}",
                    where, name, file.dump());
      }
      const auto [shard, is_new] = shards.insert(file.get<std::string>());
      if (!is_new) continue;
      if (std::error_code error; !fs::exists(path_ / *shard, error) && !error) {
        throw Error("{}: tensor '{}' is said to be in {}, which is missing", where, name, *shard);
      }
      AddShard(*shard);
    }
    for (const auto& [name, file] : index["weight_map"].items()) {
      if (!tensors_.contains(name)) {
        throw Error("{}: tensor '{}' is not in {}", where, name, file.get<std::string>());
      }
    }
  }
};

// The name that llama.cpp's gguf-split gives to part `part` of `count`, from the name of part
// `from`; Error if that one does not end so.
fs::path SplitPath(const fs::path& path, int64_t from, int64_t part, int64_t count) {
  const auto ending = [&](int64_t i) { return fmt::format("-{:05}-of-{:05}.gguf", i + 1, count); };
  std::string name = path.filename().string();
  if (!name.ends_with(ending(from))) {
    throw Error("{}: is part {} of {} of a split model: expected a name that ends in {}",
                path.string(), from + 1, count, ending(from));
  }
  name.resize(name.size() - ending(from).size());
  return path.parent_path() / (name + ending(part));
}

class GgufCheckpoint : public Checkpoint {
 public:
  explicit GgufCheckpoint(const fs::path& path) : Checkpoint(Format::kGguf, path) {
    metadata_ = AddFile(path);
    const GgufSplit split = ParseGgufSplit(metadata_, path.string());
    if (split.count > 1) AddParts(split);
  }

 private:
  // Takes the file's tensors and returns its metadata.
  Json AddFile(const fs::path& path) {
    const std::span<const std::byte> bytes = files_.emplace_back(path).bytes();
    if (!IsGguf(bytes)) {
      throw Error("{}: expected a GGUF file or a folder with {}, found another kind of file",
                  path.string(), kConfig);
    }
    GgufContents contents = ParseGguf(bytes, path.string());
    for (auto& [name, view] : contents.tensors) {
      if (!tensors_.emplace(name, std::move(view)).second) {
        throw Error("{}: tensor '{}' is in another part, too", path.string(), name);
      }
    }
    return std::move(contents.metadata);
  }

  void AddParts(const GgufSplit& first) {
    if (first.part != 0) {
      throw Error("{}: is part {} of {} of a split model; open the first one: {}", path_.string(),
                  first.part + 1, first.count,
                  SplitPath(path_, first.part, 0, first.count).string());
    }
    for (int64_t part = 1; part < first.count; ++part) {
      const fs::path path = SplitPath(path_, 0, part, first.count);
      if (!Exists(path)) {
        throw Error("{}: part {} of {} of the model is missing: {}", path_.string(), part + 1,
                    first.count, path.string());
      }
      const GgufSplit split = ParseGgufSplit(AddFile(path), path.string());
      if (split.part != part || split.count != first.count) {
        throw Error("{}: expected part {} of {} of the model, found part {} of {}", path.string(),
                    part + 1, first.count, split.part + 1, split.count);
      }
    }
    if (first.tensors >= 0 && first.tensors != std::ssize(tensors_)) {
      throw Error("{}: expected {} tensors in all parts, found {}", path_.string(), first.tensors,
                  tensors_.size());
    }
  }
};

}  // namespace

void Checkpoint::ReleasePages() const {
  for (const MappedFile& file : files_) file.ReleasePages();
}

std::unique_ptr<Checkpoint> Checkpoint::Open(const fs::path& path) {
  if (IsFolder(path)) return std::make_unique<HuggingFaceCheckpoint>(path);
  return std::make_unique<GgufCheckpoint>(path);
}

bool Checkpoint::ContainsModule(std::string_view module) const {
  const std::string prefix = fmt::format("{}.", module);
  const auto it = tensors_.lower_bound(prefix);
  return it != tensors_.end() && it->first.starts_with(prefix);
}

const TensorView& Checkpoint::Get(std::string_view name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    throw Error("{}: tensor '{}' is missing{}", path_.string(), name, Siblings(name));
  }
  return it->second;
}

std::string Checkpoint::Siblings(std::string_view name) const {
  const std::string_view module = name.substr(0, name.rfind('.') + 1);
  if (module.empty()) return "";
  std::vector<std::string_view> found;
  for (auto it = tensors_.lower_bound(module);
       it != tensors_.end() && it->first.starts_with(module) && found.size() < 5; ++it) {
    found.push_back(it->first);
  }
  if (found.empty()) return "";
  return fmt::format("; of its module there are {}", fmt::join(found, ", "));
}

const TensorView& Checkpoint::Get(std::string_view name, std::span<const int64_t> shape) const {
  const TensorView& view = Get(name);
  if (!std::ranges::equal(view.shape, shape)) {
    throw Error("{}: tensor '{}': expected shape {}, found {}", path_.string(), name,
                ShapeString(shape), ShapeString(view.shape));
  }
  return view;
}

const TensorView& Checkpoint::GetFloats(std::string_view name,
                                        std::span<const int64_t> shape) const {
  const TensorView& view = Get(name, shape);
  if (!HoldsFloats(view.type)) {
    throw Error("{}: tensor '{}': expected floats, found {}", path_.string(), name,
                DataTypeName(view.type));
  }
  return view;
}

int64_t Checkpoint::TensorBytes() const {
  int64_t bytes = 0;
  for (const auto& [name, view] : tensors_) bytes += static_cast<int64_t>(view.bytes.size());
  return bytes;
}

void DequantizeRange(const TensorView& tensor, int64_t first, std::span<float> out) {
  const BlockSize block = BlockSizeOf(tensor.type);
  const int64_t count = static_cast<int64_t>(out.size());
  FPTQ_CHECK(first >= 0 && first <= tensor.ElementCount() - count);
  FPTQ_CHECK(first % block.elements == 0 && count % block.elements == 0);
  const auto bytes = [&](int64_t elements) {
    return static_cast<size_t>(elements / block.elements * block.bytes);
  };
  Dequantize(tensor.type, tensor.bytes.subspan(bytes(first), bytes(count)), out);
}

namespace {

// The values are those from index `first` on.
void CheckFiniteFrom(int64_t first, std::span<const float> values, std::string_view where,
                     float largest) {
  const auto fine = [&](float x) { return std::abs(x) <= largest; };
  int bad = 0;  // without a branch, so that compilers make vectors of it
  for (const float x : values) bad |= static_cast<int>(!fine(x));
  if (bad == 0) return;
  const auto found = std::ranges::find_if_not(values, fine);
  const int64_t index = first + (found - values.begin());
  if (!std::isfinite(*found)) {
    throw Error("{}: expected finite values, found {} at index {}", where, *found, index);
  }
  throw Error("{}: expected values up to {}, found {} at index {}", where, largest, *found, index);
}

// Whether NaN or infinity are among 16-bit floats, whose exponents are then all ones: without
// making floats of them.
bool AllFinite(std::span<const std::byte> values, uint16_t exponent) {
  int bad = 0;
  for (size_t i = 0; i < values.size(); i += sizeof(uint16_t)) {
    uint16_t bits;
    std::memcpy(&bits, values.data() + i, sizeof(bits));
    bad |= static_cast<int>((bits & exponent) == exponent);
  }
  return bad == 0;
}

}  // namespace

void CheckFinite(std::span<const float> values, std::string_view where, float largest) {
  CheckFiniteFrom(0, values, where, largest);
}

void CheckFinite(const TensorView& tensor, int64_t first, int64_t count, std::string_view where,
                 float largest) {
  if ((tensor.type == DataType::kF16 || tensor.type == DataType::kBF16) &&
      largest == std::numeric_limits<float>::max()) {
    const auto bytes =
        tensor.bytes.subspan(static_cast<size_t>(2 * first), static_cast<size_t>(2 * count));
    if (AllFinite(bytes, tensor.type == DataType::kF16 ? 0x7c00 : 0x7f80)) return;
  }
  constexpr int64_t kPiece = 4096;  // whole blocks of each type; they stay in L1
  std::array<float, kPiece> values;
  for (int64_t done = 0; done < count; done += kPiece) {
    const auto piece = std::span(values).first(static_cast<size_t>(std::min(kPiece, count - done)));
    DequantizeRange(tensor, first + done, piece);
    CheckFiniteFrom(first + done, piece, where, largest);
  }
}

}  // namespace fptq
