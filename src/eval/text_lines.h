// The lines of a text file, plain or gzip.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace fptq {

// Reads one line at a time, so that memory is bounded by the longest line and not by what a
// compressed file unfolds to.
class TextLines {
 public:
  // Error if the file cannot be opened.
  explicit TextLines(const std::filesystem::path& path);
  ~TextLines();
  TextLines(const TextLines&) = delete;
  TextLines& operator=(const TextLines&) = delete;

  // The next line that has more than blanks, without its end; false after the last. Error if the
  // file cannot be read, is UTF-16 or broken gzip, or has a line longer than 16 MiB.
  bool Next(std::string& line);
  // Where the last line stands, for errors: "PATH, line 7".
  std::string where() const;

 private:
  bool NextLine(std::string& line);
  bool Fill();  // false at the end of the file

  std::filesystem::path path_;
  void* file_;  // gzFile
  std::string buffer_;
  size_t begin_ = 0;  // of what is left in the buffer
  bool at_start_ = true;
  int64_t number_ = 0;
};

}  // namespace fptq
