// The files that the server has in itself. CMake makes the functions from the files.
#pragma once

#include <string_view>

namespace fptq {

std::string_view PageHtml();     // page/index.html: the page at /
std::string_view OpenApiJson();  // openapi.json

}  // namespace fptq
