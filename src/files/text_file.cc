#include "files/text_file.h"

#include <algorithm>

#include "base/error.h"

namespace fptq {
namespace {

using std::string_view_literals::operator""sv;

// The encoding that `bytes` say or show that they have, if it is not one of single bytes.
std::string_view WideEncoding(std::string_view bytes) {
  if (bytes.starts_with("\xff\xfe\0\0"sv) || bytes.starts_with("\0\0\xfe\xff"sv)) return "UTF-32";
  if (bytes.starts_with("\xff\xfe") || bytes.starts_with("\xfe\xff")) return "UTF-16";
  // Without a mark: Latin letters have a zero in one half of each unit, and in one half only.
  constexpr size_t kLooksAt = 64;
  const size_t size = std::min(bytes.size(), kLooksAt) / 2 * 2;
  size_t zeros[2] = {};
  for (size_t i = 0; i < size; ++i) zeros[i % 2] += bytes[i] == '\0' ? 1 : 0;
  const bool one_half = size >= 4 && zeros[0] + zeros[1] == size / 2;
  return one_half && (zeros[0] == 0 || zeros[1] == 0) ? "UTF-16" : "";
}

}  // namespace

std::string_view Utf8Text(std::string_view bytes, std::string_view where) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (const std::string_view wide = WideEncoding(bytes); !wide.empty()) {
    throw Error("{}: expected text in UTF-8, found {}", where, wide);
  }
  if (bytes.starts_with(kByteOrderMark)) bytes.remove_prefix(kByteOrderMark.size());
  return bytes;
}

TextFile::TextFile(const std::filesystem::path& path)
    : file_(path),
      text_(Utf8Text({reinterpret_cast<const char*>(file_.bytes().data()), file_.bytes().size()},
                     path.string())) {}

}  // namespace fptq
