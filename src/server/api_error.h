// What a request did wrong, as HTTP and OpenAI's clients have it.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"

namespace fptq {

class ApiError : public Error {
 public:
  // `param`: the field of the body that is at fault; `code`: a word for programs. Either may be
  // empty.
  ApiError(int status, std::string_view message, std::string param = "", std::string code = "")
      : Error("{}", message), status_(status), param_(std::move(param)), code_(std::move(code)) {}

  int status() const { return status_; }
  const std::string& param() const { return param_; }
  const std::string& code() const { return code_; }

 private:
  int status_;
  std::string param_, code_;
};

// {"error": {"message", "type", "param", "code"}}; the type follows from the status.
Json ErrorJson(const ApiError& error);

}  // namespace fptq
