#include "files/json_file.h"

#include <gtest/gtest.h>

#include "base/test_util.h"

namespace fptq {
namespace {

TEST(JsonFile, Reads) {
  const TempFolder folder;
  EXPECT_EQ(ReadJsonFile(folder.Write("a.json", "[1]")), Json::array({1}));
  EXPECT_ERROR("b.json: not JSON", ReadJsonFile(folder.Write("b.json", "[1")));
  EXPECT_ERROR("none.json: cannot open", ReadJsonFile(folder / "none.json"));
}

}  // namespace
}  // namespace fptq
