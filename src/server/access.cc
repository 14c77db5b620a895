#include "server/access.h"

#include <algorithm>
#include <cstdint>

#include "base/error.h"

namespace fptq {
namespace {

// As long for any `given` of a length.
bool EqualInConstantTime(std::string_view given, std::string_view key) {
  volatile uint8_t difference = given.size() == key.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i) {
    difference =
        static_cast<uint8_t>(difference | static_cast<uint8_t>(given[i] ^ key[i % key.size()]));
  }
  return difference == 0;
}

bool IsPrintable(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

bool IsListed(const std::string& origin, const AccessOptions& options) {
  return std::ranges::any_of(options.cors_origins, [&](const std::string& listed) {
    return listed == "*" || listed == origin;
  });
}

}  // namespace

bool HasKey(std::string_view authorization, const std::vector<std::string>& keys) {
  constexpr std::string_view kScheme = "bearer ";
  if (authorization.size() < kScheme.size()) return false;
  const bool bearer = std::ranges::equal(
      authorization.substr(0, kScheme.size()), kScheme,
      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
  if (!bearer) return false;
  const std::string_view given = authorization.substr(kScheme.size());
  bool found = false;
  for (const std::string& key : keys) found |= EqualInConstantTime(given, key);
  return found;
}

bool OriginMayAsk(const HttpHead& head, const AccessOptions& options) {
  if (head.origin.empty() || IsListed(head.origin, options)) return true;
  const size_t scheme = head.origin.find("://");
  return scheme != std::string::npos && head.origin.substr(scheme + 3) == head.host;
}

std::vector<std::pair<std::string, std::string>> CorsHeaders(const HttpHead& head,
                                                             const AccessOptions& options) {
  if (options.cors_origins.empty()) return {};
  if (head.origin.empty() || !IsListed(head.origin, options)) return {{"Vary", "Origin"}};
  return {{"Access-Control-Allow-Origin", head.origin}, {"Vary", "Origin"}};
}

HttpResponse PreflightResponse(const HttpHead& head, const AccessOptions& options,
                               std::string_view methods) {
  HttpResponse response{.status = 204, .body = {}, .headers = CorsHeaders(head, options)};
  response.headers.emplace_back("Access-Control-Allow-Methods", methods);
  response.headers.emplace_back("Access-Control-Allow-Headers", head.requested_headers.empty()
                                                                    ? "Authorization, Content-Type"
                                                                    : head.requested_headers);
  response.headers.emplace_back("Access-Control-Max-Age", "600");
  return response;
}

std::vector<std::string> ParseKeys(std::string_view text, std::string_view where) {
  std::vector<std::string> keys;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty()) continue;
    if (!IsPrintable(line)) {
      throw Error("{}: line {}: expected a key of printable ASCII without spaces", where, number);
    }
    keys.emplace_back(line);
  }
  if (keys.empty()) throw Error("{}: expected a key on each line, found none", where);
  return keys;
}

}  // namespace fptq
