#include "engine/sequence.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "engine/log_probability.h"

namespace fptq {
namespace {

bool Contains(std::span<const int32_t> tokens, int32_t token) {
  return std::ranges::find(tokens, token) != tokens.end();
}

double Seconds(Sequence::Clock::time_point from, Sequence::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

void CheckRange(const char* name, int64_t value, int64_t min, int64_t max) {
  if (value < min || value > max) {
    throw Error("{}: expected a number from {} to {}, found {}", name, min, max, value);
  }
}

// Returns the request.
Request Checked(Request request, const ModelConfig& config, int64_t context) {
  const int64_t prompt = std::ssize(request.prompt);
  if (prompt == 0) throw Error("the prompt is empty: expected at least one token");
  if (prompt > context) {
    throw Error("the prompt has {} tokens, the context has room for {}", prompt, context);
  }
  CheckTokens(request.prompt, config);
  CheckTokens(request.stop_tokens, config);
  CheckRange("max-tokens", request.max_tokens, 0, std::numeric_limits<int64_t>::max());
  CheckRange("top-log-probabilities", request.top_log_probabilities, 0, config.vocab);
  CheckRange("prompt-log-probabilities-begin", request.prompt_log_probabilities_begin, 0, prompt);
  return request;
}

}  // namespace

Sequence::Sequence(const Model& model, PagePool& pool, int64_t context, Request request,
                   std::unique_ptr<Sink> sink)
    : model_(model),
      request_(Checked(std::move(request), model.config(), context)),
      context_(context),
      sink_(std::move(sink)),
      tokens_(std::move(request_.prompt)),
      prompt_(std::ssize(tokens_)),
      table_(pool),
      sampler_(request_.sampling, model.tokenizer.ids()),
      stream_(model.tokenizer),
      stop_(request_.stop_strings) {
  finish_.prompt_tokens = prompt_;
  const int64_t begin = request_.prompt_log_probabilities_begin;
  if (!request_.prompt_log_probabilities) {
    scored_ = prompt_;
  } else if (begin == 0) {
    prompt_scores_.push_back(
        {.token = tokens_[0], .log_probability = std::numeric_limits<double>::quiet_NaN()});
  } else {
    scored_ = begin;
  }
}

int64_t Sequence::room() const { return std::min(request_.max_tokens, context_ - prompt_); }

// Without an answer, the last token of the prompt is of no use.
int64_t Sequence::Rows() const {
  return room() > 0 ? std::ssize(tokens_) : std::max<int64_t>(1, prompt_ - 1);
}

int64_t Sequence::first_logits() const {
  if (scored_ < prompt_) return scored_ - 1;  // the row of the token before
  return room() > 0 ? Rows() - 1 : Rows();
}

bool Sequence::Admit(int64_t spare) {
  const int64_t most = std::min(first_logits(), Rows() - 1);
  computed_ = table_.Share(std::span(tokens_).first(static_cast<size_t>(most)));
  const int64_t wanted = PagesFor(Rows()) - std::ssize(table_.pages());
  if (wanted + spare <= table_.available() && table_.Reserve(Rows())) return true;
  table_.Clear();
  computed_ = 0;
  return false;
}

void Sequence::Begin(FunctionRef<void(int32_t, int32_t)> copy) {
  const auto most = static_cast<size_t>(std::min(first_logits(), Rows() - 1));
  const std::span<const int32_t> known = std::span(tokens_).first(most);
  table_.Clear();
  computed_ = table_.Share(known);
  computed_ += table_.ShareTail(known, copy);
  FPTQ_CHECK(table_.Reserve(Rows()));  // as many as it had
  begun_ = true;
  if (!started_) {
    started_ = Clock::now();
    finish_.cached_tokens = computed_;
  }
}

void Sequence::Preempt() {
  table_.Keep(std::span(tokens_).first(static_cast<size_t>(computed_)));
  table_.Clear();
  computed_ = 0;
  begun_ = false;
}

BatchChunk Sequence::Chunk(int64_t rows) const {
  FPTQ_CHECK(begun_ && rows >= 1 && rows <= left());
  const int64_t end = computed_ + rows;
  return {.pages = table_.pages(),
          .first_position = computed_,
          .tokens =
              std::span(tokens_).subspan(static_cast<size_t>(computed_), static_cast<size_t>(rows)),
          .logits = std::clamp<int64_t>(end - first_logits(), 0, rows)};
}

RowResult Sequence::Evaluate(int64_t row, std::span<float> logits, Sampler::Scratch& scratch) {
  const bool given = row + 1 < prompt_;
  const std::span<const int32_t> ids = model_.tokenizer.ids();
  RowResult result;
  try {
    result.token.token = given ? tokens_[static_cast<size_t>(row) + 1]
                               : sampler_.Sample(logits, {tokens_, prompt_}, scratch);
    if (given || request_.log_probabilities) {
      result.token = ScoreToken(logits, result.token.token, ids, request_.top_log_probabilities);
    }
  } catch (const Error& error) {
    result.error = error.what();
  }
  return result;
}

bool Sequence::Advance(int64_t rows, std::span<RowResult> results) {
  computed_ += rows;
  if (rows > 1 || computed_ % kKvBlock == 0) {
    table_.Keep(std::span(tokens_).first(static_cast<size_t>(computed_)));
    if (const int64_t window = model_.config().LongestWindow(); window > 0) {
      table_.Drop(computed_ + 1 - window);
    }
  }
  Delta delta;
  std::optional<FinishReason> end;
  for (RowResult& result : results) {
    end = Accept(result, delta);
    if (end) break;
  }
  if (!end && room() == 0 && left() == 0) {
    end = request_.max_tokens == 0 ? FinishReason::kMaxTokens : FinishReason::kContextFull;
  }
  if (end) {
    End(*end, std::move(delta));
  } else if (!results.empty() && answer() > 0) {
    sink_->OnDelta(std::move(delta));
  }
  return end.has_value();
}

std::optional<FinishReason> Sequence::Accept(RowResult& result, Delta& delta) {
  if (!result.error.empty()) {
    finish_.error = std::move(result.error);
    return FinishReason::kError;
  }
  if (scored_ < prompt_) {
    prompt_scores_.push_back(std::move(result.token));
    ++scored_;
  } else {
    return Append(result, delta);
  }
  return std::nullopt;
}

std::optional<FinishReason> Sequence::Append(RowResult& result, Delta& delta) {
  const int32_t token = result.token.token;
  if (!answered_) answered_ = Clock::now();
  if (Contains(request_.stop_tokens, token) ||
      (!request_.ignore_eos && Contains(model_.special_tokens.eos, token))) {
    // Clients that ask for the prompt's, too, take the last one for that of a token after it.
    if (request_.log_probabilities && request_.prompt_log_probabilities) {
      delta.log_probabilities.push_back(std::move(result.token));
    }
    return FinishReason::kStopToken;
  }
  if (answer() == 0) delta.prompt_log_probabilities = std::exchange(prompt_scores_, {});
  tokens_.push_back(token);
  delta.tokens.push_back(token);
  if (request_.log_probabilities) delta.log_probabilities.push_back(std::move(result.token));
  delta.text += stop_.Push(stream_.Push(token));
  if (stop_.stopped()) return FinishReason::kStopString;
  if (answer() == request_.max_tokens) return FinishReason::kMaxTokens;
  if (answer() == room()) return FinishReason::kContextFull;
  return std::nullopt;
}

void Sequence::End(FinishReason reason, std::string error) {
  finish_.error = std::move(error);
  End(reason, Delta());
}

void Sequence::End(FinishReason reason, Delta delta) {
  table_.Keep(std::span(tokens_).first(static_cast<size_t>(computed_)));
  table_.Clear();
  if (!stop_.stopped()) delta.text += stop_.Push(stream_.Finish());
  if (!stop_.stopped()) delta.text += stop_.Finish();
  if (scored_ == prompt_ && !prompt_scores_.empty()) {
    delta.prompt_log_probabilities = std::exchange(prompt_scores_, {});
  }
  if (!delta.text.empty() || !delta.tokens.empty() || !delta.log_probabilities.empty() ||
      !delta.prompt_log_probabilities.empty()) {
    sink_->OnDelta(std::move(delta));
  }
  const Clock::time_point now = Clock::now();
  finish_.reason = reason;
  finish_.completion_tokens = answer();
  finish_.queue_seconds = Seconds(submitted_, started_.value_or(now));
  if (started_) finish_.prompt_seconds = Seconds(*started_, answered_.value_or(now));
  if (answered_) finish_.decode_seconds = Seconds(*answered_, now);
  sink_->OnFinish(finish_);
  sink_.reset();
}

}  // namespace fptq
