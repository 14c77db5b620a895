// Text as files and pipes give it.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "files/mapped_file.h"

namespace fptq {

// `bytes` without the byte order mark that some editors put before a text in UTF-8. Error naming
// `where` if they are UTF-16 or UTF-32. Other bytes that are not UTF-8, and NUL bytes, are left to
// the reader: JSON refuses them, a tokenizer takes ill-formed ones as U+FFFD.
std::string_view Utf8Text(std::string_view bytes, std::string_view where);

// A whole file of text, mapped.
class TextFile {
 public:
  explicit TextFile(const std::filesystem::path& path);  // Error as Utf8Text has it

  std::string_view text() const { return text_; }  // without a byte order mark

 private:
  MappedFile file_;
  std::string_view text_;
};

}  // namespace fptq
