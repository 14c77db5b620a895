#include "report/report_page.h"

#include <fmt/format.h>

#include <map>

#include "base/error.h"
#include "model/arch/arch.h"
#include "report/chart.h"

namespace fptq {
namespace {

constexpr std::string_view kStyle = R"(
:root { --page: #fff; --text: #1b1b1b; --grid: #e3e3e3; }
@media (prefers-color-scheme: dark) { :root { --page: #161616; --text: #e8e8e8; --grid: #343434; } }
body { margin: 0 auto; padding: 1rem; max-width: 70rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 0; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left;
  border-bottom: 1px solid var(--grid); vertical-align: top; overflow-wrap: anywhere; }
)";

// Points of the items of a list, grouped into series by a name.
class SeriesByName {
 public:
  void Add(const std::string& name, ChartPoint point) {
    const auto [found, is_new] = index_.emplace(name, series_.size());
    if (is_new) series_.push_back({.name = name, .points = {}});
    series_[found->second].points.push_back(std::move(point));
  }
  std::vector<ChartSeries> Take() { return std::move(series_); }

 private:
  std::map<std::string, size_t> index_;
  std::vector<ChartSeries> series_;
};

std::string Label(const Json& site) {
  return fmt::format("layer {}, {}", site.at("layer").get<int64_t>(),
                     site.at("site").get<std::string>());
}

bool IsDynamic(const Json& site) {
  return site.at("scheme").get<std::string>().find("dynamic") != std::string::npos;
}

Chart RangeChart(const Json& report) {
  SeriesByName series;
  for (const Json& site : report.at("sites")) {
    const double range = site.at("range").get<double>();
    series.Add(site.at("site").get<std::string>(),
               {.x = site.at("layer").get<double>(),
                .y = range,
                .hollow = IsDynamic(site),
                .title = fmt::format("{}: {:.4g}, {} ({})", Label(site), range,
                                     site.at("scheme").get<std::string>(),
                                     site.at("reason").get<std::string>())});
  }
  const Json& recipe = report.at("recipe");
  return {.title = "Range of the activations",
          .explanation =
              "max |X| over the calibration tokens where activations enter the linears. "
              "Filled: one static scale; hollow: a scale for each token.",
          .x_label = "layer",
          .y_label = "max |X|",
          .log_y = true,
          .series = series.Take(),
          .lines = {{recipe.at("v0").get<double>(), "v0"}, {recipe.at("v1").get<double>(), "v1"}}};
}

// Of one site: the maxima of its channels, before and after equalization.
Chart MaximaChart(const Json& report, const std::string& name) {
  SeriesByName series;
  for (const Json& site : report.at("sites")) {
    if (site.at("site").get<std::string>() != name) continue;
    const double x = site.at("layer").get<double>();
    const auto add = [&](const char* field, const char* suffix, bool hollow) {
      if (!site.contains(field)) return;
      const auto deciles = site.at(field).get<std::vector<double>>();
      if (deciles.empty()) return;
      const auto add_decile = [&](const char* which, double y) {
        series.Add(fmt::format("{}{}", which, suffix),
                   {.x = x,
                    .y = y,
                    .hollow = hollow,
                    .title = fmt::format("{}: {}{} {:.4g}", Label(site), which, suffix, y)});
      };
      add_decile("largest", deciles.back());
      add_decile("median", deciles[deciles.size() / 2]);
      add_decile("least", deciles.front());
    };
    const bool equalized = site.contains("equalized_channel_maxima");
    add("channel_maxima", "", equalized);
    add("equalized_channel_maxima", ", equalized", false);
  }
  return {.title = "Maxima of the channels: " + name,
          .explanation =
              "max |X_j| of the channels j over the calibration tokens. Filled: as the "
              "linears see them; hollow: before equalization.",
          .x_label = "layer",
          .y_label = "max |X_j|",
          .log_y = true,
          .series = series.Take()};
}

Chart WeightErrorChart(const Json& report) {
  SeriesByName series;
  for (const Json& linear : report.at("linears")) {
    const auto name = linear.at("name").get<std::string>();
    int layer = 0;  // the first number in the name
    if (const size_t digit = name.find_first_of("0123456789"); digit != std::string::npos) {
      layer = std::atoi(name.c_str() + digit);
    }
    const double error = linear.at("weight_error").get<double>();
    series.Add(name.substr(name.rfind('.') + 1), {.x = static_cast<double>(layer),
                                                  .y = error,
                                                  .title = fmt::format("{}: {:.4f}", name, error)});
  }
  return {.title = "Error of the weights",
          .explanation =
              "Relative error of a linear's output from rounding its weights, its input "
              "channels taken as uncorrelated.",
          .x_label = "layer",
          .y_label = "relative error",
          .series = series.Take()};
}

Chart OutputErrorChart(const Json& report) {
  SeriesByName series;
  for (const Json& site : report.at("sites")) {
    const auto scheme = site.at("scheme").get<std::string>();
    if (!site.contains("errors") || !site.at("errors").contains(scheme)) continue;
    std::string title = Label(site) + ":";
    for (const auto& [name, error] : site.at("errors").items()) {
      title += fmt::format(" {} {:.3g}", name, error.get<double>());
    }
    series.Add(site.at("site").get<std::string>(), {.x = site.at("layer").get<double>(),
                                                    .y = site.at("errors").at(scheme).get<double>(),
                                                    .hollow = IsDynamic(site),
                                                    .title = title});
  }
  return {.title = "Error of the linears' output",
          .explanation =
              "As measured on calibration tokens for the choice that was taken; pointing "
              "at one shows its alternatives.",
          .x_label = "layer",
          .y_label = "relative squared error",
          .log_y = true,
          .series = series.Take()};
}

Chart SensitivityChart(const Json& sensitivity) {
  ChartSeries series{.name = "KL divergence", .points = {}};
  for (const Json& layer : sensitivity) {
    const double kl = layer.at("kl").get<double>();
    const auto index = static_cast<double>(series.points.size());
    series.points.push_back({.x = index,
                             .y = kl,
                             .title = fmt::format("layer {}: {:.5f} +- {:.5f}", index, kl,
                                                  layer.at("standard_error").is_null()
                                                      ? 0.0
                                                      : layer.at("standard_error").get<double>())});
  }
  return {.title = "Sensitivity",
          .explanation = "KL divergence from the float model when this layer alone is quantized.",
          .x_label = "layer",
          .y_label = "nats a token",
          .series = {series}};
}

std::string Table(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string html = "<table>\n";
  for (const auto& [name, value] : rows) {
    html += fmt::format("<tr><th scope='row'>{}</th><td>{}</td></tr>\n", EscapeHtml(name),
                        EscapeHtml(value));
  }
  return html + "</table>\n";
}

std::string SummaryTable(const Json& report) {
  std::vector<std::pair<std::string, std::string>> rows;
  if (const Json& quality = report.at("quality"); !quality.is_null()) {
    for (const Json& row : quality) {
      rows.emplace_back(row.at(0).get<std::string>(), row.at(1).get<std::string>());
    }
  }
  rows.emplace_back("bits of a weight", fmt::format("{:.3f}, scales included",
                                                    report.at("bits_per_weight").get<double>()));
  std::map<std::string, int> schemes;
  for (const Json& site : report.at("sites")) ++schemes[site.at("scheme").get<std::string>()];
  std::string counts;
  for (const auto& [scheme, count] : schemes) {
    counts += fmt::format("{}{} {}", counts.empty() ? "" : ", ", count, scheme);
  }
  rows.emplace_back("activation sites", counts);
  for (const auto& [name, value] : report.at("recipe").items()) {
    rows.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return Table(rows);
}

}  // namespace

std::string ReportPage(const Json& report, std::string_view where) {
  try {
    const std::string title = "fptq report: " + report.at("model").get<std::string>();
    std::string html = fmt::format(
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<title>{0}</title><style>{1}{2}</style></head>\n<body><h1>{0}</h1>\n",
        EscapeHtml(title), kStyle, kChartStyle);
    html += SummaryTable(report);
    std::vector<Chart> charts = {RangeChart(report), WeightErrorChart(report),
                                 OutputErrorChart(report)};
    for (const ActSite site : kAllActSites) {
      charts.push_back(MaximaChart(report, std::string(ActSiteName(site))));
    }
    if (const Json& layers = report.at("sensitivity"); !layers.is_null()) {
      charts.push_back(SensitivityChart(layers));
    }
    for (const Chart& chart : charts) {
      if (!chart.series.empty()) html += ChartHtml(chart);
    }
    return html + "</body></html>\n";
  } catch (const Json::exception& e) {
    throw Error("{}: expected the fields of fptq.json: {}", where, e.what());
  }
}

}  // namespace fptq
