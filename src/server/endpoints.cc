#include <fmt/format.h>
#include <malloc.h>

#include <utility>
#include <variant>

#include "base/error.h"
#include "kernels/dispatch.h"
#include "server/page.h"
#include "server/server_state.h"

namespace fptq {

ApiError InternalError(std::string_view what) {
  return ApiError(500, fmt::format("the server failed: {}", what), "", "internal_error");
}

void Server::State::GetPage(ReplyPtr reply, std::string) {
  reply->Send({.body = std::string(PageHtml()),
               .content_type = "text/html; charset=utf-8",
               .headers = {{"Content-Security-Policy", std::string(PageSecurityPolicy())},
                           {"X-Content-Type-Options", "nosniff"},
                           {"Referrer-Policy", "no-referrer"}}});
}

void Server::State::GetOpenApi(ReplyPtr reply, std::string) {
  reply->Send({.body = std::string(OpenApiJson())});
}

void Server::State::GetHealth(ReplyPtr reply, std::string) { reply->SendJson({{"status", "ok"}}); }

const char* Server::State::Status() const {
  return draining ? "draining" : service == nullptr ? "loading" : "ready";
}

void Server::State::GetReady(ReplyPtr reply, std::string) {
  const bool ready = service != nullptr && !draining;
  if (ready) return reply->SendJson({{"status", Status()}});
  reply->SendError(ApiError(503, "not ready", "", Status()));
}

void Server::State::GetVersion(ReplyPtr reply, std::string) {
  reply->SendJson(
      {{"version", options.version}, {"commit", options.commit}, {"kernels", Kernels().name}});
}

void Server::State::GetMetrics(ReplyPtr reply, std::string) {
  Metrics::Now now;
  if (service != nullptr) now.service = service->statistics();
  now.ready = service != nullptr && !draining;
  now.connections = http.connections();
  now.memory = http.budget().used();
  now.memory_limit = http.budget().limit();
  now.resident_bytes = ResidentBytes();
  reply->Send(
      {.body = metrics.Text(now), .content_type = "text/plain; version=0.0.4; charset=utf-8"});
}

Json Server::State::ModelJson(const std::string& name) const {
  return {{"id", name},
          {"object", "model"},
          {"created", created},
          {"owned_by", "fptq"},
          {"root", options.model_names.front()},
          {"max_model_len", api.context}};
}

void Server::State::GetModels(ReplyPtr reply, std::string) {
  Json models = Json::array();
  for (const std::string& name : options.model_names) models.push_back(ModelJson(name));
  reply->SendJson({{"object", "list"}, {"data", std::move(models)}});
}

void Server::State::GetModel(ReplyPtr reply, std::string) {
  const std::string name = reply->head().path.substr(kModelPrefix.size());
  try {
    CheckModelName(name, api);
    reply->SendJson(ModelJson(name));
  } catch (const ApiError& e) {
    reply->SendError(e);
  }
}

// What programs that count tokens themselves ask for, as vLLM answers it.
void Server::State::GetTokenizerInfo(ReplyPtr reply, std::string) {
  const Model& model = service->model();
  const Json& special = model.chat_templates.special_tokens;
  const auto text = [&](const char* name, int32_t token) -> Json {
    if (special.contains(name)) return special[name];
    if (token < 0) return nullptr;
    return std::string(model.tokenizer.TokenBytes(token));
  };
  const SpecialTokens& tokens = model.special_tokens;
  const auto chat_template = model.chat_templates.texts.find("default");
  reply->SendJson({{"tokenizer_class", "PreTrainedTokenizerFast"},
                   {"bos_token", text("bos_token", tokens.bos)},
                   {"eos_token", text("eos_token", tokens.eos.empty() ? -1 : tokens.eos.front())},
                   {"pad_token", text("pad_token", -1)},
                   {"chat_template", chat_template == model.chat_templates.texts.end()
                                         ? Json(nullptr)
                                         : Json(chat_template->second)}});
}

void Server::State::PostTokenize(ReplyPtr reply, std::string body) {
  RespondFromBody(std::move(reply), std::move(body), Tokenize);
}
void Server::State::PostDetokenize(ReplyPtr reply, std::string body) {
  RespondFromBody(std::move(reply), std::move(body), Detokenize);
}
void Server::State::PostCompletions(ReplyPtr reply, std::string body) {
  RunAnswer(std::move(reply), std::move(body), ParseCompletion);
}
void Server::State::PostChatCompletions(ReplyPtr reply, std::string body) {
  RunAnswer(std::move(reply), std::move(body), ParseChat);
}

// What a function of the body gives, or why it gives nothing.
template <typename Result, typename F>
static std::variant<Result, ApiError> Try(F&& f) {
  try {
    return f();
  } catch (const ApiError& e) {
    return e;
  } catch (const Error& e) {
    return ApiError(400, e.what());
  } catch (const std::bad_alloc&) {
    return ApiError(503, "the server has no memory left for this request", "", "overloaded");
  } catch (const std::exception& e) {
    return InternalError(e.what());
  }
}

// The C library keeps what is freed. After a large body, whose JSON and tokens take many times its
// size, it is told to give that back.
static void FreeBody(std::string& body) {
  constexpr size_t kLarge = 256 << 10;
  const bool large = body.size() >= kLarge;
  body = {};
#ifdef __GLIBC__
  if (large) malloc_trim(0);
#endif
}

// Has the worker `read` the body, and then the I/O thread `use` what that gives. The worker does
// one body after the other, so the memory that one takes as JSON is taken once, and streams go on
// meanwhile.
template <typename Result>
void Server::State::Work(ReplyPtr reply, std::string body, std::function<Result(const Json&)> read,
                         std::function<void(ReplyPtr, Result)> use) {
  auto share = std::make_shared<Budget::Share>(http.budget());
  share->Set(std::ssize(body));  // there is room: the connection has just given it back
  worker.Post([this, reply = std::move(reply), body = std::move(body), share = std::move(share),
               read = std::move(read), use = std::move(use)]() mutable {
    std::variant<Result, ApiError> result = ApiError(kClientGone, "the client is gone");
    if (!reply->abandoned()) result = Try<Result>([&] { return read(ParseBody(body)); });
    FreeBody(body);
    http.Post([reply = std::move(reply), share = std::move(share), result = std::move(result),
               use = std::move(use)]() mutable {
      share->Set(0);
      if (const auto* error = std::get_if<ApiError>(&result)) return reply->SendError(*error);
      use(std::move(reply), std::get<Result>(std::move(result)));
    });
  });
}

void Server::State::RunAnswer(ReplyPtr reply, std::string body, Parse parse) {
  Work<AnswerCall>(
      std::move(reply), std::move(body),
      [this, parse, seed = random()](const Json& json) { return parse(json, api, seed); },
      [this](ReplyPtr to, AnswerCall call) {
        runner.Run(*service, std::move(call), RandomId(), std::move(to));
      });
}

void Server::State::RespondFromBody(ReplyPtr reply, std::string body,
                                    Json (*respond)(const Json&, const ApiContext&)) {
  Work<Json>(
      std::move(reply), std::move(body),
      [this, respond](const Json& json) { return respond(json, api); },
      [](ReplyPtr to, const Json& json) { to->SendJson(json); });
}

std::string Server::State::RandomId() { return fmt::format("{:016x}{:016x}", random(), random()); }

}  // namespace fptq
