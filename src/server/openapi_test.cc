#include <gtest/gtest.h>

#include <set>
#include <string>

#include "server/api.h"
#include "server/page.h"
#include "server/server.h"

namespace fptq {
namespace {

Json OpenApi() { return Json::parse(OpenApiJson()); }

std::set<std::string> Names(const std::vector<std::span<const KnownField>>& tables) {
  std::set<std::string> names;
  for (const auto& table : tables) {
    for (const KnownField& field : table) {
      EXPECT_TRUE(names.emplace(field.name).second) << field.name << " twice";
    }
  }
  return names;
}

TEST(OpenApiTest, HasEveryEndpointAndNoOther) {
  std::set<std::string> described, served;
  const Json api = OpenApi();
  for (const auto& [path, methods] : api["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      described.insert(method + " " + path);
      EXPECT_EQ(operation.contains("security"),
                method == "get" && !operation["responses"].contains("401"))
          << path;
    }
  }
  for (const Endpoint& endpoint : Server::Endpoints()) {
    served.insert((endpoint.method == "GET" ? "get " : "post ") + std::string(endpoint.path));
  }
  EXPECT_EQ(described, served);
}

TEST(OpenApiTest, HasEveryFieldAndNoOther) {
  const Json schemas = OpenApi()["components"]["schemas"];
  const auto check = [&](const char* schema,
                         const std::vector<std::span<const KnownField>>& tables) {
    std::set<std::string> described;
    for (const auto& [name, _] : schemas[schema]["properties"].items()) described.insert(name);
    EXPECT_EQ(described, Names(tables)) << schema;
    EXPECT_EQ(schemas[schema]["additionalProperties"], false);
  };
  check("CompletionRequest", CompletionFields());
  check("ChatRequest", ChatFields());
  check("TokenizeRequest", TokenizeFields());
  check("DetokenizeRequest", DetokenizeFields());
}

// A reference that points nowhere makes the whole file useless to its readers.
TEST(OpenApiTest, ReferencesPointSomewhere) {
  const Json api = OpenApi();
  const Json flat = api.flatten();
  int references = 0;
  for (const auto& [pointer, value] : flat.items()) {
    if (!pointer.ends_with("/$ref")) continue;
    ++references;
    const std::string target = value.get<std::string>().substr(1);
    EXPECT_TRUE(api.contains(Json::json_pointer(target))) << target;
  }
  EXPECT_GT(references, 30);
}

}  // namespace
}  // namespace fptq
