#include "files/journal.h"

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "files/checksum.h"
#include "files/mapped_file.h"

namespace fptq {
namespace {

constexpr size_t kChecksumDigits = 8;

std::string Line(const Json& record) {
  const std::string text = DumpJson(record);
  return fmt::format("{:08x} {}\n", Checksum(text), text);
}

// The JSON of a line without its end; empty if the line is not what Line wrote.
std::string_view TextOf(std::string_view line) {
  if (line.size() <= kChecksumDigits || line[kChecksumDigits] != ' ') return {};
  const std::string_view text = line.substr(kChecksumDigits + 1);
  if (line.substr(0, kChecksumDigits) != fmt::format("{:08x}", Checksum(text))) return {};
  return text;
}

}  // namespace

Journal::Journal(const std::filesystem::path& path) : file_(path) {
  if (file_.size() > 0) {
    const MappedFile mapped(path);
    std::string_view rest(reinterpret_cast<const char*>(mapped.bytes().data()),
                          mapped.bytes().size());
    int64_t end = 0;
    for (size_t length = rest.find('\n'); length != rest.npos; length = rest.find('\n')) {
      const std::string_view text = TextOf(rest.substr(0, length));
      if (text.empty() || !AddRecord(text)) break;
      end += static_cast<int64_t>(length) + 1;
      ends_.push_back(end);
      rest.remove_prefix(length + 1);
    }
  }
  Truncate(records_.size());
}

// False if the text, whose checksum is right, is no JSON: damage, too, though not by accident.
bool Journal::AddRecord(std::string_view text) {
  try {
    records_.push_back(ParseJson(text, file_.path().string()));
  } catch (const Error&) {
    return false;
  }
  return true;
}

void Journal::Append(Json record) {
  const std::string line = Line(record);
  file_.Append(std::as_bytes(std::span(line)));
  file_.Sync();
  records_.push_back(std::move(record));
  ends_.push_back(file_.size());
}

void Journal::Truncate(size_t count) {
  FPTQ_CHECK(count <= records_.size());
  file_.Truncate(count == 0 ? 0 : ends_[count - 1]);
  records_.resize(count);
  ends_.resize(count);
}

}  // namespace fptq
