// The files that the server has in itself: cmake/embed.cmake makes these functions.
#pragma once

#include <string_view>

namespace fptq {

// The page that people see at "/": src/server/page/ as one self-contained HTML document, UTF-8.
std::string_view PageHtml();
// The Content-Security-Policy that has to go with it: it allows the page's own styles
// and scripts alone.
std::string_view PageSecurityPolicy();

std::string_view OpenApiJson();  // src/server/openapi.json

}  // namespace fptq
