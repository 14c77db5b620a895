// The page that people see at "/": src/server/page/, put into the binary by cmake/embed.cmake.
#pragma once

#include <string_view>

namespace fptq {

// One self-contained HTML document, UTF-8.
std::string_view PageHtml();
// The Content-Security-Policy that has to go with it: it allows the page's own styles
// and scripts alone.
std::string_view PageSecurityPolicy();

}  // namespace fptq
