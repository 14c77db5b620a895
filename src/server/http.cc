#include "server/http.h"

#include <fmt/format.h>

#include <charconv>

namespace fptq {

std::string_view HttpReason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "Unknown";
  }
}

std::optional<std::string> DecodePath(std::string_view path) {
  std::string result;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%') {
      result += path[i];
      continue;
    }
    uint8_t byte = 0;
    if (i + 2 >= path.size()) return std::nullopt;
    const char* end = path.data() + i + 3;
    if (std::from_chars(path.data() + i + 1, end, byte, 16).ptr != end) return std::nullopt;
    result += static_cast<char>(byte);
    i += 2;
  }
  return result;
}

std::string HttpHeadText(const HttpResponse& response, std::optional<size_t> length, bool chunked,
                         bool keep_alive) {
  std::string text =
      fmt::format("HTTP/1.1 {} {}\r\n", response.status, HttpReason(response.status));
  if (response.status != 204) {
    text += fmt::format("Content-Type: {}\r\n", response.content_type);
    if (length) {
      text += fmt::format("Content-Length: {}\r\n", *length);
    } else if (chunked) {
      text += "Transfer-Encoding: chunked\r\n";
    }
  }
  for (const auto& [name, value] : response.headers) {
    text += fmt::format("{}: {}\r\n", name, value);
  }
  text += keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  return text += "\r\n";
}

std::string HttpChunk(std::string_view part) {
  std::string text = fmt::format("{:x}\r\n", part.size());
  text += part;
  return text += "\r\n";
}

}  // namespace fptq
