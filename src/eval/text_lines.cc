#include "eval/text_lines.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "files/paths.h"
#include "files/text_file.h"

namespace fptq {
namespace {

constexpr size_t kMaxLine = size_t{16} << 20;
constexpr unsigned kBuffer = 1 << 16;

gzFile AsGzip(void* file) { return static_cast<gzFile>(file); }

}  // namespace

TextLines::TextLines(const std::filesystem::path& path) : path_(path) {
  if (IsFolder(path)) throw Error("{}: expected a file", path.string());
  file_ = gzopen(path.c_str(), "rb");
  if (file_ == nullptr) {
    throw Error("{}: {}", path.string(), errno == 0 ? "out of memory" : std::strerror(errno));
  }
}

TextLines::~TextLines() { gzclose(AsGzip(file_)); }

std::string TextLines::where() const { return fmt::format("{}, line {}", path_.string(), number_); }

bool TextLines::Fill() {
  buffer_.resize(kBuffer);
  begin_ = 0;
  const int size = gzread(AsGzip(file_), buffer_.data(), kBuffer);
  int code = Z_OK;
  const char* message = gzerror(AsGzip(file_), &code);
  if (size < 0 || (code != Z_OK && code != Z_STREAM_END)) throw Error("{}: {}", where(), message);
  buffer_.resize(static_cast<size_t>(size));
  if (std::exchange(at_start_, false))
    begin_ = buffer_.size() - Utf8Text(buffer_, path_.string()).size();
  return size > 0;
}

bool TextLines::Next(std::string& line) {
  constexpr std::string_view kBlanks = " \t\r";
  while (NextLine(line)) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.find_first_not_of(kBlanks) != line.npos) return true;
  }
  return false;
}

bool TextLines::NextLine(std::string& line) {
  line.clear();
  ++number_;
  while (begin_ < buffer_.size() || Fill()) {
    const size_t end = buffer_.find('\n', begin_);
    line.append(buffer_, begin_, end - begin_);
    begin_ = end == std::string::npos ? buffer_.size() : end + 1;
    if (line.size() > kMaxLine) throw Error("{}: longer than {} bytes", where(), kMaxLine);
    if (end != std::string::npos) return true;
  }
  return !line.empty();
}

}  // namespace fptq
