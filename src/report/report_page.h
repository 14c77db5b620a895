// The page of `fptq report`.
#pragma once

#include <string>

#include "base/json.h"

namespace fptq {

// One self-contained HTML page. `report` is what fptq.json holds (docs/file_format.md), and
//   "model": its folder
//   "quality": null, or a list of [name, value] pairs of text
//   "sensitivity": null, or for each layer {"kl", "standard_error"}
// Error naming `where` and the field that is missing or of another type.
std::string ReportPage(const Json& report, std::string_view where);

}  // namespace fptq
