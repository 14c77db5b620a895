// Who may ask.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"

namespace fptq {

struct AccessOptions {
  std::vector<std::string> api_keys;      // one of them has to be given; empty: none
  std::vector<std::string> cors_origins;  // pages that may ask; "*": all
};

// Whether `authorization` is "Bearer KEY" with one of the keys. The time that it takes says nothing
// about them but how many and how long they are.
bool HasKey(std::string_view authorization, const std::vector<std::string>& keys);

// A browser names the page that a request comes from. Pages of other servers may not ask unless the
// options have them: else any page that somebody reads could use a server on his machine.
bool OriginMayAsk(const HttpHead& head, const AccessOptions& options);

// The fields that let a page of another server read the response; empty if it may not.
std::vector<std::pair<std::string, std::string>> CorsHeaders(const HttpHead& head,
                                                             const AccessOptions& options);
// The response to a preflight.
HttpResponse PreflightResponse(const HttpHead& head, const AccessOptions& options,
                               std::string_view methods);

// The keys of a file, one a line; empty lines do not count. Error naming `where` if there are none,
// or one cannot be sent in a header.
std::vector<std::string> ParseKeys(std::string_view text, std::string_view where);

}  // namespace fptq
