// Which build of fptq this is.
#pragma once

namespace fptq {

extern const char* const kVersion;  // "0.1.0"

// What `git describe` said when it was built, with a checksum of what was not committed:
// "fdf0de0-dirty-1b2c3d4e"; "unknown" where there was no repository. Not configured but built: the
// target fptq_commit writes it anew for each build.
extern const char* const kCommit;

}  // namespace fptq
