// Charts as HTML: SVG with a legend, legible on a phone and with a hundred layers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fptq {

struct ChartPoint {
  double x = 0, y = 0;
  bool hollow = false;
  std::string title = {};  // shown on hover
};

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;  // by x
};

// A horizontal line across the chart.
struct ChartLine {
  double y = 0;
  std::string label;
};

struct Chart {
  std::string title, explanation;
  std::string x_label, y_label;
  bool log_y = false;  // points and lines with y <= 0 are left out
  std::vector<ChartSeries> series;
  std::vector<ChartLine> lines = {};
};

// A <figure>; its style sheet is kChartStyle.
std::string ChartHtml(const Chart& chart);
extern const std::string_view kChartStyle;

// For use in HTML text and attributes.
std::string EscapeHtml(std::string_view text);

}  // namespace fptq
