// Text for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fptq {

// Writes to standard output at once; Error if that fails (a full disk).
void Print(std::string_view text);
// To standard error.
void Note(std::string_view text);
// Notes each warning on a line of its own, but none twice in a run of the program.
void NoteWarnings(const std::vector<std::string>& warnings);
// `text` on one line and without control characters, whatever a file name, a flag or a file put
// into it.
std::string OneLine(std::string_view text);

// Rows of cells in aligned columns, two spaces between them.
// `alignment` has an 'l' or 'r' for each column. The first row is the header.
void PrintTable(const std::vector<std::vector<std::string>>& rows, std::string_view alignment);

std::string FormatBytes(int64_t bytes);     // "134.5 MB", decimal units
std::string FormatCount(int64_t count);     // "134.5 M"
std::string FormatSeconds(double seconds);  // "12.3 s", "3 min 20 s"

}  // namespace fptq
