// What every function of the public API needs: threads, cancelling, errors of one kind.
#pragma once

#include <exception>
#include <new>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/progress.h"
#include "fptq/progress.h"
#include "machine/limits.h"

namespace fptq {

inline int ThreadCount(int threads) {
  if (threads < 0) throw Error("threads: expected 0 or more, found {}", threads);
  return threads == 0 ? UsableCores() : threads;
}

// A callback that cancels by an exception, as Progress does it.
inline Progress ProgressOf(const ProgressCallback& callback) {
  if (!callback) return {};
  return [&callback](std::string_view stage, int64_t done, int64_t total) {
    if (!callback(stage, done, total)) throw Error(ErrorKind::kCancelled, "cancelled");
  };
}

// Calls body. What other libraries throw comes out as an Error of kind kInternal.
template <typename Body>
auto AsApi(Body&& body) -> decltype(body()) {
  try {
    return std::forward<Body>(body)();
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& e) {
    throw Error(ErrorKind::kInternal, e.what());
  }
}

}  // namespace fptq
