// A fixed set of threads that split loops among themselves.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace fptq {

// A non-owning reference to a callable; valid for the duration of the call it is passed to.
template <typename Signature>
class FunctionRef;

template <typename Result, typename... Args>
class FunctionRef<Result(Args...)> {
 public:
  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& f)  // NOLINT: implicit, so that lambdas can be passed
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, Args... args) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  Result operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  Result (*call_)(void*, Args...);
};

// The calling thread works too, so ThreadPool(1) starts no thread. Between loops the workers spin
// for a few dozen microseconds (a decode step has hundreds of loops) and then sleep. A loop
// allocates nothing. One loop at a time: not to be called from two threads, nor from inside a loop.
// An exception thrown by a body is rethrown by the call.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Adds to *seconds, until another call, the time that the calling thread waits at the end of
  // loops for the others. Null: the time is not taken.
  void CountWaiting(double* seconds);

  // Calls body(begin, end) on disjoint ranges that cover [0, count), each handed out to whichever
  // thread is free: some ranges a thread, as even as they can be, that begin at multiples of
  // `unit_length`.
  void ParallelFor(int64_t count, int64_t unit_length, FunctionRef<void(int64_t, int64_t)> body);
  void ParallelFor(int64_t count, FunctionRef<void(int64_t, int64_t)> body) {
    ParallelFor(count, /*unit_length=*/1, body);
  }

  // Calls body(i) once for each i in [0, count), handed out one by one (a few at a time if there
  // are millions) to whichever thread is free.
  void ParallelEach(int64_t count, FunctionRef<void(int64_t)> body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fptq
