#include "report/report_page.h"

#include <gtest/gtest.h>

#include <string>

#include "base/test_util.h"
#include "report/chart.h"

namespace fptq {
namespace {

Json Report(int layers) {
  Json sites = Json::array(), linears = Json::array(), sensitivity = Json::array();
  for (int layer = 0; layer < layers; ++layer) {
    sites.push_back({{"layer", layer},
                     {"site", "attn_in"},
                     {"range", 20.5 + layer},
                     {"channel_maxima", {0.1, 2.0, 20.5 + layer}},
                     {"equalized_channel_maxima", {0.1, 1.0, 4.5}},
                     {"scheme", "lae_static"},
                     {"errors", {{"lae_static", 0.001}, {"dynamic", 0.002}}},
                     {"reason", "v0 < v < v1"}});
    sites.push_back({{"layer", layer},
                     {"site", "mlp_mid"},
                     {"range", 900.0},
                     {"scheme", "dynamic"},
                     {"reason", "v >= v1"}});
    linears.push_back(
        {{"name", fmt::format("model.layers.{}.mlp.up_proj", layer)}, {"weight_error", 0.04}});
    sensitivity.push_back({{"kl", 0.01}, {"standard_error", nullptr}});
  }
  return {{"model", "m<odel"},
          {"recipe", {{"v0", 15}, {"v1", 150}, {"calibration", "a&b"}}},
          {"bits_per_weight", 4.25},
          {"quality", Json::array({Json::array({"ratio", "1.1 +- 0.01"})})},
          {"sites", sites},
          {"linears", linears},
          {"sensitivity", sensitivity}};
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(ReportPage, ShowsEveryLayerAndNeedsNoNetwork) {
  for (const int layers : {1, 80}) {
    const std::string page = ReportPage(Report(layers), "x");
    // Range (2 sites), maxima (3, before and after), weights, output error, sensitivity.
    EXPECT_EQ(Count(page, "<circle "), 11 * layers);
    EXPECT_EQ(Count(page, "<svg "), 5);
    EXPECT_EQ(Count(page, "</svg>"), 5);
    EXPECT_EQ(Count(page, "class='mark'"), 2);  // v0 and v1
    EXPECT_EQ(Count(page, "http"), 0);
    EXPECT_EQ(Count(page, "nan"), 0);
    EXPECT_EQ(Count(page, "inf'"), 0);
  }
}

TEST(ReportPage, EscapesWhatItShows) {
  const std::string page = ReportPage(Report(1), "x");
  EXPECT_EQ(Count(page, "m<odel"), 0);
  EXPECT_EQ(Count(page, "m&lt;odel"), 2);  // title and heading
  EXPECT_EQ(Count(page, "a&amp;b"), 1);
}

TEST(ReportPage, NamesWhatIsMissing) {
  Json report = Report(1);
  report["sites"][0].erase("range");
  EXPECT_ERROR("dir/fptq.json: expected the fields of fptq.json",
               ReportPage(report, "dir/fptq.json"));
  EXPECT_ERROR("range", ReportPage(report, "x"));
}

// A point at 10 times the value stands as far above it on a logarithmic axis as that one above a
// tenth.
TEST(Chart, LogarithmicAxis) {
  const std::string html = ChartHtml({.title = "t",
                                      .explanation = "e",
                                      .x_label = "x",
                                      .y_label = "y",
                                      .log_y = true,
                                      .series = {{"s", {{0, 1}, {1, 10}, {2, 100}, {3, 0}}}}});
  std::vector<double> y;
  for (size_t at = html.find("cy='"); at != std::string::npos; at = html.find("cy='", at + 1)) {
    y.push_back(std::stod(html.substr(at + 4)));
  }
  ASSERT_EQ(y.size(), 3u);                      // 0 has no place there
  EXPECT_NEAR(y[0] - y[1], y[1] - y[2], 0.11);  // printed with one digit
  EXPECT_GT(y[0] - y[1], 50);
}

TEST(Chart, NothingToShowIsAnEmptyPlot) {
  const std::string html = ChartHtml(
      {.title = "t", .explanation = "", .x_label = "", .y_label = "", .series = {{"s", {}}}});
  EXPECT_EQ(Count(html, "<circle"), 0);
  EXPECT_EQ(Count(html, "nan"), 0);
}

}  // namespace
}  // namespace fptq
