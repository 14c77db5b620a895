#include "engine/service.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace fptq {

struct Service::State {
  State(std::shared_ptr<const Model> shared_model, ThreadPool& pool,
        const SchedulerOptions& options, int64_t queue_length)
      : model(std::move(shared_model)),
        queue(queue_length),
        scheduler(*model, options, pool),
        statistics(scheduler.statistics()) {}

  void Drive();
  // Waits for something to do. False if that is to end.
  bool TakeCommands();
  void Step();
  void Publish();

  const std::shared_ptr<const Model> model;
  const int64_t queue;
  Scheduler scheduler;  // of the thread alone, but for what any thread may call

  mutable std::mutex mutex;  // of what follows
  std::condition_variable command;
  std::vector<std::unique_ptr<Sequence>> submitted;
  std::vector<RequestId> cancelled;
  bool draining = false, quit = false;
  RequestId last_id = 0;
  // The scheduler's, as of the last step.
  int64_t unfinished = 0;
  SchedulerStatistics statistics;

  std::thread thread;
};

void Service::State::Drive() {
  while (TakeCommands()) {
    Step();
    Publish();
  }
  scheduler.EndAll(FinishReason::kCancelled);
  Publish();
}

bool Service::State::TakeCommands() {
  std::unique_lock lock(mutex);
  command.wait(lock,
               [&] { return quit || unfinished > 0 || !submitted.empty() || !cancelled.empty(); });
  for (std::unique_ptr<Sequence>& sequence : submitted) scheduler.Add(std::move(sequence));
  submitted.clear();
  for (const RequestId id : cancelled) scheduler.Cancel(id);
  cancelled.clear();
  unfinished = scheduler.unfinished();
  return !quit;
}

void Service::State::Step() {
  try {
    scheduler.Step();
  } catch (const std::exception& error) {
    scheduler.EndAll(FinishReason::kError, error.what());
  }
}

void Service::State::Publish() {
  const std::lock_guard lock(mutex);
  unfinished = scheduler.unfinished();
  statistics = scheduler.statistics();
}

Service::Service(std::shared_ptr<const Model> model, ThreadPool& pool,
                 const SchedulerOptions& options, int64_t queue)
    : state_(std::make_unique<State>(std::move(model), pool, options, queue)) {
  state_->thread = std::thread([state = state_.get()] { state->Drive(); });
}

Service::~Service() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->quit = true;
  }
  state_->command.notify_one();
  state_->thread.join();
}

const Model& Service::model() const { return *state_->model; }
int64_t Service::context() const { return state_->scheduler.context(); }

Service::Submission Service::Submit(Request request, std::unique_ptr<Sink> sink) {
  std::unique_ptr<Sequence> sequence =
      state_->scheduler.MakeSequence(std::move(request), std::move(sink));
  Submission submission;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->draining) return {.refusal = Refusal::kDraining};
    if (std::ssize(state_->submitted) + state_->scheduler.unstarted() >= state_->queue) {
      return {.refusal = Refusal::kQueueFull};
    }
    submission.id = sequence->id = ++state_->last_id;
    state_->submitted.push_back(std::move(sequence));
  }
  state_->command.notify_one();
  return submission;
}

void Service::Cancel(RequestId id) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->cancelled.push_back(id);
  }
  state_->command.notify_one();
}

void Service::StopTaking() {
  const std::lock_guard lock(state_->mutex);
  state_->draining = true;
}

bool Service::idle() const {
  const std::lock_guard lock(state_->mutex);
  return state_->submitted.empty() && state_->unfinished == 0;
}

ServiceStatistics Service::statistics() const {
  const std::lock_guard lock(state_->mutex);
  ServiceStatistics statistics = state_->statistics;
  statistics.waiting += std::ssize(state_->submitted);
  return statistics;
}

}  // namespace fptq
