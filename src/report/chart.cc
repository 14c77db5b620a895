#include "report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/math.h"

namespace fptq {
namespace {

constexpr double kHeight = 320, kTop = 12, kBottom = 44, kLeft = 64, kRight = 16;
constexpr int kColors = 7;

// The plot's coordinates.
struct Scale {
  double x_min = 0, x_max = 1, y_min = 0, y_max = 1;  // y as log10 where log_y
  bool log_y = false;
  double width = 0;

  bool Shows(double y) const { return std::isfinite(y) && (!log_y || y > 0); }
  double X(double x) const {
    return kLeft + (x - x_min) / (x_max - x_min) * (width - kLeft - kRight);
  }
  double Y(double y) const {
    const double value = log_y ? Log10(y) : y;
    return kHeight - kBottom - (value - y_min) / (y_max - y_min) * (kHeight - kTop - kBottom);
  }
};

Scale MakeScale(const Chart& chart) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kPixelsPerStep = 11, kMinWidth = 640;
  Scale scale{.x_min = kInfinity, .x_max = -kInfinity, .y_min = kInfinity, .y_max = -kInfinity};
  scale.log_y = chart.log_y;
  const auto include = [&](double y) {
    if (!scale.Shows(y)) return;
    const double value = chart.log_y ? Log10(y) : y;
    scale.y_min = std::min(scale.y_min, value);
    scale.y_max = std::max(scale.y_max, value);
  };
  for (const ChartSeries& series : chart.series) {
    for (const ChartPoint& point : series.points) {
      scale.x_min = std::min(scale.x_min, point.x);
      scale.x_max = std::max(scale.x_max, point.x);
      include(point.y);
    }
  }
  for (const ChartLine& line : chart.lines) include(line.y);
  if (!chart.log_y) include(0);
  if (!(scale.y_min <= scale.y_max)) scale.y_min = scale.y_max = 0;  // nothing to show
  if (!(scale.x_min <= scale.x_max)) scale.x_min = scale.x_max = 0;
  const double margin = std::max(0.05 * (scale.y_max - scale.y_min), 1e-9);
  scale.y_max += margin;
  if (chart.log_y) scale.y_min -= margin;
  scale.width = std::max(kMinWidth, kLeft + kRight + kPixelsPerStep * (scale.x_max - scale.x_min));
  scale.x_min -= 0.5;
  scale.x_max += 0.5;
  return scale;
}

// Round numbers between min and max: 1, 2 or 5 times a power of ten apart.
std::vector<double> RoundNumbers(double min, double max, double most) {
  const double rough = (max - min) / most;
  const double power = Pow(10, std::floor(Log10(rough)));
  double step = 10 * power;
  for (const double factor : {5, 2, 1}) {
    if (factor * power >= rough) step = factor * power;
  }
  std::vector<double> ticks;
  for (double tick = std::ceil(min / step) * step; tick <= max; tick += step) {
    ticks.push_back(std::abs(tick) < step / 2 ? 0 : tick);
  }
  return ticks;
}

std::vector<double> LogTicks(const Scale& scale) {
  std::vector<double> ticks;
  const bool few = scale.y_max - scale.y_min < 2;
  for (double power = std::floor(scale.y_min); power <= scale.y_max; ++power) {
    for (const double factor : {1, 2, 5}) {
      const double tick = factor * Pow(10, power);
      const bool inside = Log10(tick) >= scale.y_min && Log10(tick) <= scale.y_max;
      if (inside && (few || factor == 1)) ticks.push_back(tick);
    }
  }
  return ticks;
}

std::string Axes(const Chart& chart, const Scale& scale) {
  std::string svg;
  const double left = kLeft, right = scale.width - kRight, bottom = kHeight - kBottom;
  for (const double y : chart.log_y ? LogTicks(scale) : RoundNumbers(scale.y_min, scale.y_max, 6)) {
    svg += fmt::format(
        "<line class='grid' x1='{}' x2='{}' y1='{:.1f}' y2='{:.1f}'/>"
        "<text x='{}' y='{:.1f}' text-anchor='end'>{:g}</text>\n",
        left, right, scale.Y(y), scale.Y(y), left - 6, scale.Y(y) + 4, y);
  }
  for (const double x : RoundNumbers(scale.x_min, scale.x_max, (right - left) / 50)) {
    if (x != std::round(x)) continue;
    svg += fmt::format("<text x='{:.1f}' y='{}' text-anchor='middle'>{:g}</text>\n", scale.X(x),
                       bottom + 16, x);
  }
  svg += fmt::format("<text x='{:.1f}' y='{}' text-anchor='middle'>{}</text>\n", (left + right) / 2,
                     kHeight - 8, EscapeHtml(chart.x_label));
  svg += fmt::format(
      "<text transform='translate(14 {:.1f}) rotate(-90)' text-anchor='middle'>{}</text>\n",
      (kTop + bottom) / 2, EscapeHtml(chart.y_label));
  return svg;
}

std::string Lines(const Chart& chart, const Scale& scale) {
  std::string svg;
  for (const ChartLine& line : chart.lines) {
    if (!scale.Shows(line.y)) continue;
    svg += fmt::format(
        "<line class='mark' x1='{}' x2='{}' y1='{:.1f}' y2='{:.1f}'/>"
        "<text x='{}' y='{:.1f}'>{}</text>\n",
        kLeft, scale.width - kRight, scale.Y(line.y), scale.Y(line.y), kLeft + 4,
        scale.Y(line.y) - 4, EscapeHtml(line.label));
  }
  return svg;
}

std::string Points(const ChartSeries& series, size_t color, const Scale& scale) {
  std::string path, marks;
  for (const ChartPoint& point : series.points) {
    if (!scale.Shows(point.y)) continue;
    const double x = scale.X(point.x), y = scale.Y(point.y);
    path += fmt::format("{:.1f},{:.1f} ", x, y);
    marks += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='3.5'{}><title>{}</title></circle>", x,
                         y, point.hollow ? " class='hollow'" : "", EscapeHtml(point.title));
  }
  return fmt::format("<g class='c{}'><polyline points='{}'/>{}</g>\n", color % kColors, path,
                     marks);
}

}  // namespace

const std::string_view kChartStyle = R"(
figure { margin: 2rem 0; }
figcaption p { margin: .3rem 0; }
.scroll { overflow-x: auto; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .85rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 50%; margin-right: .3rem; }
svg { display: block; width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--text); }
svg .grid { stroke: var(--grid); }
svg .mark { stroke: var(--text); stroke-dasharray: 6 4; }
svg polyline { fill: none; stroke: currentColor; stroke-opacity: .35; }
svg circle { fill: currentColor; stroke: currentColor; stroke-width: 1.5; }
svg circle.hollow { fill: var(--page); }
.c0 { color: #0072b2; } .c1 { color: #d55e00; } .c2 { color: #009e73; } .c3 { color: #cc79a7; }
.c4 { color: #e69f00; } .c5 { color: #56b4e9; } .c6 { color: #8a8a8a; }
.legend i { background: currentColor; } .legend b { color: var(--text); font-weight: normal; }
)";

std::string ChartHtml(const Chart& chart) {
  const Scale scale = MakeScale(chart);
  std::string html = fmt::format("<figure><figcaption><h2>{}</h2><p>{}</p><div class='legend'>",
                                 EscapeHtml(chart.title), EscapeHtml(chart.explanation));
  for (size_t i = 0; i < chart.series.size(); ++i) {
    html += fmt::format("<span class='c{}'><i></i><b>{}</b></span>", i % kColors,
                        EscapeHtml(chart.series[i].name));
  }
  html += fmt::format(
      "</div></figcaption>\n<div class='scroll'><svg viewBox='0 0 {:.0f} {:.0f}' "
      "style='min-width: {:.0f}px' role='img' aria-label='{}'>\n",
      scale.width, kHeight, scale.width, EscapeHtml(chart.title));
  html += Axes(chart, scale) + Lines(chart, scale);
  for (size_t i = 0; i < chart.series.size(); ++i) html += Points(chart.series[i], i, scale);
  return html + "</svg></div></figure>\n";
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace fptq
