#include "engine/service.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "engine/testing.h"

namespace fptq {
namespace {

using std::chrono::milliseconds;

// Ends nothing by itself: as long as the test lets it.
Request Long(int32_t seed = 0) {
  Request request = GreedyRequest(TestPrompt(20, seed), 4000);
  request.ignore_eos = true;
  return request;
}

// The last step may not be over when its sinks are.
void WaitUntilIdle(const Service& service) {
  while (!service.idle()) std::this_thread::sleep_for(milliseconds(1));
}

TEST(Service, AnswersFromSeveralThreadsAreThoseOfEachAlone) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  std::vector<Request> requests;
  for (int32_t i = 0; i < 12; ++i) requests.push_back(DrawnRequest(TestPrompt(5 + 9 * i, i), i, 8));
  std::vector<Answer> expected;
  for (const Request& request : requests) expected.push_back(Alone(*model, pool, request));

  std::vector<Collector> answers(requests.size());
  Service service(model, pool, {.context = 160, .max_sequences = 4}, /*queue=*/100);
  std::vector<std::thread> clients;
  for (size_t client = 0; client < 3; ++client) {
    clients.emplace_back([&, client] {
      for (size_t i = client; i < requests.size(); i += 3) {
        EXPECT_NE(service.Submit(requests[i], answers[i].NewSink()).id, 0u);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_TRUE(answers[i].Wait() == expected[i]) << i;
  }
  WaitUntilIdle(service);
  const ServiceStatistics statistics = service.statistics();
  EXPECT_EQ(statistics.pages, statistics.free_pages);
  EXPECT_GT(statistics.steps, 0);
  EXPECT_GT(statistics.completion_tokens, 0);
}

TEST(Service, RefusesWhatTheQueueHasNoRoomFor) {
  ThreadPool pool(1);
  Collector running, waiting[2], refused, next;
  Service service(TinyModel(pool), pool, {.context = 4096, .max_sequences = 1}, /*queue=*/2);
  const auto first = service.Submit(Long(), running.NewSink());
  running.WaitForToken();  // the queue is empty then
  for (Collector& answer : waiting) {
    EXPECT_EQ(service.Submit(Long(), answer.NewSink()).refusal, Service::Refusal::kNone);
  }
  EXPECT_EQ(service.Submit(Long(), refused.NewSink()).refusal, Service::Refusal::kQueueFull);
  EXPECT_TRUE(refused.sink_gone());
  service.Cancel(first.id);
  EXPECT_EQ(running.Wait().finish.reason, FinishReason::kCancelled);
  waiting[0].WaitForToken();  // has left the queue
  EXPECT_EQ(service.Submit(Long(), next.NewSink()).refusal, Service::Refusal::kNone);
}

TEST(Service, CancelEndsWhatRunsAndWhatWaits) {
  ThreadPool pool(1);
  Collector running, waiting;
  Service service(TinyModel(pool), pool, {.context = 4096, .max_sequences = 1}, 10);
  const auto first = service.Submit(Long(), running.NewSink());
  const auto second = service.Submit(Long(), waiting.NewSink());
  running.WaitForToken();
  service.Cancel(second.id);
  EXPECT_EQ(waiting.Wait().finish.reason, FinishReason::kCancelled);
  EXPECT_TRUE(waiting.answer().tokens.empty());
  EXPECT_FALSE(running.over());
  service.Cancel(first.id);
  EXPECT_EQ(running.Wait().finish.reason, FinishReason::kCancelled);
  EXPECT_FALSE(running.answer().tokens.empty());
  service.Cancel(first.id);  // it is over
  service.Cancel(12345);
}

TEST(Service, DrainsWhatItHas) {
  ThreadPool pool(1);
  Collector answers[4], refused;
  Service service(TinyModel(pool), pool, {.context = 128, .max_sequences = 2}, 10);
  EXPECT_TRUE(service.idle());
  for (Collector& answer : answers) {
    service.Submit(GreedyRequest(TestPrompt(30), 20), answer.NewSink());
  }
  service.StopTaking();
  EXPECT_EQ(service.Submit(Long(), refused.NewSink()).refusal, Service::Refusal::kDraining);
  for (Collector& answer : answers) {
    EXPECT_EQ(answer.Wait().tokens.size(), 20u);
  }
  WaitUntilIdle(service);
}

TEST(Service, DestructorEndsWhatIsLeft) {
  ThreadPool pool(1);
  const auto model = TinyModel(pool);
  Collector answers[5];
  {
    Service service(model, pool, {.context = 4096, .max_sequences = 2}, 10);
    for (Collector& answer : answers) service.Submit(Long(), answer.NewSink());
    answers[0].WaitForToken();
  }
  for (Collector& answer : answers) {
    ASSERT_TRUE(answer.over());
    EXPECT_EQ(answer.answer().finish.reason, FinishReason::kCancelled);
  }
}

TEST(Service, RequestsThatAreNotValidAreErrorsAtOnce) {
  ThreadPool pool(1);
  Collector answer;
  Service service(TinyModel(pool), pool, {.context = 24}, 10);
  EXPECT_ERROR("25 tokens, the context has room for 24",
               service.Submit(GreedyRequest(TestPrompt(25), 1), answer.NewSink()));
  EXPECT_TRUE(answer.sink_gone());
  EXPECT_EQ(service.context(), 24);
  EXPECT_TRUE(service.idle());
}

}  // namespace
}  // namespace fptq
