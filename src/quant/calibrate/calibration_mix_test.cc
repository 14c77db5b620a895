#include "quant/calibrate/calibration_mix.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/test_util.h"

namespace fptq {
namespace {

constexpr std::string_view kWhere = "--calibration";

TEST(CalibrationMix, HasOneSourceOrShares) {
  const std::vector<CalibrationPart> one = ParseCalibration("text.txt", kWhere);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].source, "text.txt");
  EXPECT_EQ(one[0].share, 1);
  const std::vector<CalibrationPart> mix =
      ParseCalibration("self:0.5,random:1e-1,a.txt,b.txt", kWhere);
  ASSERT_EQ(mix.size(), 4u);
  EXPECT_EQ(mix[0].source, kSelfCalibration);
  EXPECT_EQ(mix[0].share, 0.5);
  EXPECT_EQ(mix[1].share, 0.1);
  EXPECT_FALSE(mix[1].is_file());
  EXPECT_TRUE(mix[2].is_file());
  // They share what is left.
  EXPECT_NEAR(mix[2].share, 0.2, 1e-12);
  EXPECT_EQ(mix[3].share, mix[2].share);
}

TEST(CalibrationMix, ReadsColonsOfPathsAsSuch) {
  const std::vector<CalibrationPart> parts = ParseCalibration("C:/a.txt,x:y:0.25", kWhere);
  EXPECT_EQ(parts[0].source, "C:/a.txt");
  EXPECT_EQ(parts[0].share, 0.75);
  EXPECT_EQ(parts[1].source, "x:y");
}

TEST(CalibrationMix, NamesWhatIsWrong) {
  EXPECT_ERROR("--calibration: expected self, chat, random or a file, found ''",
               ParseCalibration("", kWhere));
  EXPECT_ERROR("found ''", ParseCalibration("self,", kWhere));
  EXPECT_ERROR("found ''", ParseCalibration(":1", kWhere));
  EXPECT_ERROR("expected a share above 0 and up to 1, found 0",
               ParseCalibration("self:0,a", kWhere));
  EXPECT_ERROR("found -1", ParseCalibration("self:-1,a", kWhere));
  EXPECT_ERROR("found nan", ParseCalibration("self:nan", kWhere));
  EXPECT_ERROR("expected shares that sum to 1, found 0.6",
               ParseCalibration("self:0.5,a:0.1", kWhere));
  EXPECT_ERROR("expected shares that sum to less than 1, as others have none, found 1",
               ParseCalibration("self:1,a", kWhere));
  EXPECT_ERROR("expected different sources, found a twice", ParseCalibration("a,self,a", kWhere));
}

TEST(CalibrationMix, SplitsAllTokens) {
  for (const char* text : {"self", "self:0.333,random", "a,b,c", "a:0.001,b:0.999"}) {
    const std::vector<CalibrationPart> parts = ParseCalibration(text, kWhere);
    for (const int64_t tokens : {1, 2, 100, 32768}) {
      const std::vector<int64_t> counts = SplitTokens(parts, tokens);
      ASSERT_EQ(counts.size(), parts.size());
      EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), int64_t{0}), tokens) << text;
      for (size_t i = 0; i < counts.size(); ++i) {
        // Rounded at either end.
        EXPECT_NEAR(static_cast<double>(counts[i]), parts[i].share * static_cast<double>(tokens),
                    1);
      }
    }
  }
  EXPECT_EQ(SelfTokens("random,self:0.25,chat:0.5", 1000), 750);
  EXPECT_EQ(SelfTokens("random", 1000), 0);
}

TEST(CalibrationMix, ListsFiles) {
  EXPECT_EQ(CalibrationFiles("self,b/a.txt,random,c.jsonl"),
            (std::vector<std::filesystem::path>{"b/a.txt", "c.jsonl"}));
}

}  // namespace
}  // namespace fptq
