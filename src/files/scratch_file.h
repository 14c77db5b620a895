// Memory that is a file: more of it than the machine has, or not counted as the process's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace fptq {

// A zeroed file without a name, mapped for reading and writing. It is gone with the object, or
// however the process ends.
class ScratchFile {
 public:
  ScratchFile() = default;
  // In `folder`, `size` > 0 bytes, which are set aside on the disk: Error if they are not there.
  ScratchFile(const std::filesystem::path& folder, int64_t size);
  ~ScratchFile();
  ScratchFile(ScratchFile&& other) noexcept;
  ScratchFile& operator=(ScratchFile&& other) noexcept;

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace fptq
