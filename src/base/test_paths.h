// Where tests and fuzz targets find what they need. CMake writes the definitions: in the commands
// that compile tests, paths of one checkout would keep compiler caches from serving another.
#pragma once

namespace fptq {

extern const char* const kTestdata;  // the folder testdata/
extern const char* const kBinary;    // the program fptq

}  // namespace fptq
