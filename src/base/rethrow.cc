#include "base/rethrow.h"

#include <exception>
#include <new>

#include "base/error.h"

namespace fptq {

void RethrowNaming(std::string_view where) {
  try {
    throw;
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorKind::kResource, fmt::format("{}: out of memory", where));
  } catch (const std::exception& e) {
    throw Error("{}: {}", where, e.what());
  }
}

}  // namespace fptq
