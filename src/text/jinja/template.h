// A Jinja template as chat templates use it: as by jinja2 3.1 in the sandbox of transformers, whose
// filters, functions and settings it has. There is no escaping, and no other template can be named.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "text/jinja/ast.h"
#include "text/jinja/heap.h"

namespace fptq::jinja {

class Template {
 public:
  // Error if `source` is no template; `where` names it in that and all later errors.
  static Template Parse(std::string_view source, std::string where);

  using Variables = std::vector<std::pair<std::string, Value>>;
  struct Options {
    Limits limits;
    std::optional<std::tm> now;  // for strftime_now; absent: the time of the call
  };
  // `make_variables` makes what the template finds by name. Error with the line if it fails, asks
  // for too much, or calls raise_exception.
  Text Render(FunctionRef<Variables(Heap&)> make_variables, const Options& options) const;

  // The texts and strings that stand in the template itself, with a U+0000 between them.
  const std::string& literals() const { return literals_; }

 private:
  std::string where_;
  std::string literals_;
  std::shared_ptr<const Body> body_;
};

}  // namespace fptq::jinja
