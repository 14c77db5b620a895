// A source model on disk, whatever its format: metadata and tensors by name.
#pragma once

#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/tensor.h"
#include "files/mapped_file.h"

namespace fptq {

// Read-only and mmapped: opening reads headers only. Everything about the file's structure is
// validated at opening, so a TensorView always lies within its file and has as many bytes as its
// shape and type need.
class Checkpoint {
 public:
  enum class Format { kHuggingFace, kGguf };

  // `path`: a Hugging Face folder (config.json and model.safetensors, or shards with their index)
  // or a GGUF file.
  static std::unique_ptr<Checkpoint> Open(const std::filesystem::path& path);
  virtual ~Checkpoint() = default;

  Format format() const { return format_; }
  const std::filesystem::path& path() const { return path_; }
  // config.json of a folder; all key-value pairs of a GGUF file as one flat object
  // ("llama.block_count": 30, ...).
  const Json& metadata() const { return metadata_; }
  const std::map<std::string, TensorView, std::less<>>& tensors() const { return tensors_; }

  // As ModelSource::warnings.
  const std::vector<std::string>& warnings() const { return warnings_; }

  bool Contains(std::string_view name) const { return tensors_.find(name) != tensors_.end(); }
  bool ContainsModule(std::string_view module) const;  // a tensor "MODULE.weight" or the like
  // Error naming the file and the tensor if it is absent.
  const TensorView& Get(std::string_view name) const;
  // Like Get, and its shape must be `shape`.
  const TensorView& Get(std::string_view name, std::span<const int64_t> shape) const;
  // Like the one before, and DequantizeRange must be able to read it.
  const TensorView& GetFloats(std::string_view name, std::span<const int64_t> shape) const;

  // The pages read so far no longer count as memory of this process; what is read again comes from
  // the page cache. Call it when weights have been copied out.
  void ReleasePages() const;

  // Bytes of all the tensors.
  int64_t TensorBytes() const;

 protected:
  Checkpoint(Format format, std::filesystem::path path) : format_(format), path_(std::move(path)) {}
  // For messages: the tensors there are of the module that `name` is of, if any.
  std::string Siblings(std::string_view name) const;

  Format format_;
  std::filesystem::path path_;
  Json metadata_;
  std::vector<std::string> warnings_;
  std::vector<MappedFile> files_;
  std::map<std::string, TensorView, std::less<>> tensors_;  // in files_
};

// Elements [first, first + out.size()) of the flattened tensor as float, dequantized by the
// definition of its type (bit for bit what the `gguf` Python package gives). For block types both
// ends must lie on block boundaries. The type must be a float or block type; Error otherwise. Does
// not look for NaN: see CheckFinite.
void DequantizeRange(const TensorView& tensor, int64_t first, std::span<float> out);

// Error naming `where` and the index of the first value that is NaN, or infinite, or of a magnitude
// beyond `largest`.
void CheckFinite(std::span<const float> values, std::string_view where,
                 float largest = std::numeric_limits<float>::max());
// The same of elements [first, first + count) of the flattened tensor, which must be whole blocks.
void CheckFinite(const TensorView& tensor, int64_t first, int64_t count, std::string_view where,
                 float largest = std::numeric_limits<float>::max());

}  // namespace fptq
