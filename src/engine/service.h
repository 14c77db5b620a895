// The engine on a thread of its own: requests come from any thread, answers go to their sinks.
#pragma once

#include <cstdint>
#include <memory>

#include "base/thread_pool.h"
#include "engine/request.h"
#include "engine/scheduler.h"
#include "model/model.h"

namespace fptq {

using ServiceStatistics = SchedulerStatistics;

// What a step throws, such as memory that has run out, ends the requests of that time with kError.
class Service {
 public:
  using RequestId = uint64_t;

  // `queue`: the most requests that wait for their first step.
  Service(std::shared_ptr<const Model> model, ThreadPool& pool, const SchedulerOptions& options,
          int64_t queue);
  // Cancels what still runs; every sink has had its OnFinish then.
  ~Service();

  const Model& model() const;
  int64_t context() const;  // the most tokens of a sequence, prompt and answer together

  // What Submit says of a request that it does not take.
  enum class Refusal { kNone, kQueueFull, kDraining };
  struct Submission {
    RequestId id = 0;
    Refusal refusal = Refusal::kNone;
  };
  // Error if the request is not valid (an empty or too long prompt, tokens beyond the vocabulary,
  // options out of their range). The sink is called until its OnFinish, maybe before this returns,
  // and dropped after it; not at all if the request is refused.
  Submission Submit(Request request, std::unique_ptr<Sink> sink);
  // Ends a request within a step; its sink gets OnFinish (kCancelled). Nothing if it is over.
  void Cancel(RequestId id);
  // Takes no more requests; those that are there go on.
  void StopTaking();
  // True if there are none.
  bool idle() const;

  ServiceStatistics statistics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace fptq
