// A file of records that are there whole or not at all, in the order in which they were appended.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "files/append_file.h"

namespace fptq {

// A record is a line: its checksum, and JSON.
class Journal {
 public:
  // Opens or creates the file and reads its records, up to the first that is torn or damaged; the
  // file is cut there.
  explicit Journal(const std::filesystem::path& path);

  const std::vector<Json>& records() const { return records_; }
  // Returns when the record is durable.
  void Append(Json record);
  // Drops all records from number `count` on.
  void Truncate(size_t count);

 private:
  bool AddRecord(std::string_view text);

  AppendFile file_;
  std::vector<Json> records_;
  std::vector<int64_t> ends_;  // of the records, in the file
};

}  // namespace fptq
