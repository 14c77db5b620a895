# cmake -D SOURCE=DIR -D VERSION=VERSION -D OUTPUT=FILE -P commit.cmake: writes a C++ file that says which commit of DIR
# is built, and leaves it alone if it says so already. Changes that are not committed are told apart by a checksum.
set(commit "")
if(EXISTS "${SOURCE}/.git")  # not that of a repository in which a release was unpacked
  execute_process(COMMAND git -C "${SOURCE}" describe --always
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  execute_process(COMMAND git -C "${SOURCE}" diff HEAD -- src cmake CMakeLists.txt
    OUTPUT_VARIABLE changes ERROR_QUIET)
endif()
if(NOT commit)
  set(commit unknown)
elseif(changes)
  string(MD5 checksum "${changes}")
  string(SUBSTRING "${checksum}" 0 8 checksum)
  string(APPEND commit "-dirty-${checksum}")
endif()
set(text "#include \"base/build.h\"

const char* const fptq::kVersion = \"${VERSION}\";
const char* const fptq::kCommit = \"${commit}\";
")
set(old "")
if(EXISTS "${OUTPUT}")
  file(READ "${OUTPUT}" old)
endif()
if(NOT text STREQUAL old)
  file(WRITE "${OUTPUT}" "${text}")
endif()
