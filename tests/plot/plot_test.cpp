// Charts: the ticks, the structure of the SVG, the text of the terminal.
#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "driver/plot/scale.h"
#include "driver/plot/svg.h"
#include "driver/plot/terminal.h"
#include "tests/catch.h"

using namespace treadle;

namespace {

constexpr double missing = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> labels(const Axis& axis, const std::vector<double>& values, int wanted) {
  std::vector<std::string> out;
  for (const Tick& tick : ticks(scale_of(axis, values, 0), wanted)) out.push_back(tick.label);
  return out;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t out = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++out;
  return out;
}

// Every element that is opened is closed, in order, and every '<' or '&' of the
// content is escaped.
bool well_formed(const std::string& xml) {
  std::vector<std::string> open;
  for (std::size_t at = 0; at < xml.size(); ++at) {
    if (xml[at] == '&') {
      const std::size_t end = xml.find(';', at);
      if (end == std::string::npos || end - at > 6) return false;
    }
    if (xml[at] != '<') continue;
    const std::size_t end = xml.find('>', at);
    if (end == std::string::npos) return false;
    const std::string tag = xml.substr(at + 1, end - at - 1);
    if (tag.find('<') != std::string::npos || tag.empty()) return false;
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) return false;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(tag.substr(0, tag.find_first_of(" \n")));
    }
    at = end;
  }
  return open.empty();
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) out.push_back(line);
  return out;
}

std::size_t characters(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

Curve curve(std::string label, std::vector<double> y, Curve::Style style = Curve::Style::solid) {
  Curve out;
  out.label = std::move(label);
  for (std::size_t i = 0; i < y.size(); ++i) out.x.push_back(static_cast<double>(i));
  out.y = std::move(y);
  out.style = style;
  return out;
}

Chart two_curves() {
  Chart out;
  out.title = "Rise & fall of <loss>";
  out.x.label = "step";
  out.curves = {curve("first", {0, 1, missing, 3, 4}), curve("second", {4, 3, 2, 1, 0})};
  return out;
}

}  // namespace

TEST_CASE("ticks are round, within the data, about as many as asked for") {
  using Labels = std::vector<std::string>;
  CHECK(labels({}, {0, 1}, 5) == Labels{"0", "0.2", "0.4", "0.6", "0.8", "1.0"});
  CHECK(labels({}, {1700, 2008}, 6) == Labels{"1700", "1800", "1900", "2000"});
  CHECK(labels({}, {-0.3, 0.3}, 4) == Labels{"−0.2", "0", "0.2"});
  CHECK(labels({}, {5, 5}, 5) == Labels{"3", "4", "5", "6", "7"});
  CHECK(labels({}, {}, 2).size() >= 2);
  const Axis logarithmic{"", true, {}, {}};
  CHECK(labels(logarithmic, {0.01, 100}, 6) == Labels{"0.01", "0.1", "1", "10", "100"});
  CHECK(labels(logarithmic, {1e-20, 1}, 5) == Labels{"10⁻²⁰", "10⁻¹⁵", "10⁻¹⁰", "10⁻⁵", "10⁰"});
  CHECK(labels(logarithmic, {2, 9}, 5) == Labels{"2", "5"});
  for (const double high : {1e-300, 1e-9, 0.37, 1.0, 99.0, 1e12, 1e300}) {
    INFO(high);
    const std::vector<Tick> all = ticks(scale_of({}, {-high, high}, 0.05), 6);
    CHECK(all.size() >= 3);
    CHECK(all.size() <= 12);
  }
}

TEST_CASE("a scale shows what its axis names, and nothing infinite") {
  const Scale plain = scale_of({"", false, 0.0, {}}, {2, missing, 4, INFINITY}, 0);
  CHECK(plain.low == 0);
  CHECK(plain.high == 4);
  CHECK(plain.position(1) == 0.25);
  CHECK(std::isnan(plain.position(missing)));
  const Scale powers = scale_of({"", true, {}, {}}, {0, -1, 1e-4, 1e4}, 0);
  CHECK(powers.position(1) == Approx(0.5));
  CHECK(powers.position(0) == 0);
}

TEST_CASE("an SVG is well formed, holds every curve, and is the same each time") {
  const Chart chart = two_curves();
  const std::string one = svg(std::vector<Chart>{chart});
  CHECK(well_formed(one));
  CHECK(one == svg(std::vector<Chart>{chart}));
  CHECK(one.find("Rise &amp; fall of &lt;loss&gt;") != std::string::npos);
  CHECK(count(one, "<polyline") == 3);  // the gap cuts the first curve in two
  CHECK(one.find(">second</text>") != std::string::npos);
  CHECK(one.find("nan") == std::string::npos);
  const std::string two = svg(std::vector<Chart>{chart, chart});
  CHECK(well_formed(two));
  CHECK(count(two, "<polyline") == 6);
  CHECK(two.find("id=\"plot1\"") != std::string::npos);
}

TEST_CASE("dots, bands, rules and dashes are drawn as such") {
  Chart chart = two_curves();
  chart.curves[0].style = Curve::Style::dots;
  chart.curves[1].style = Curve::Style::dashed;
  chart.curves[1].low = {3, 2, 1, 0, -1};
  chart.curves[1].high = {5, 4, 3, 2, 1};
  chart.rules = {{Rule::Direction::vertical, 2, "here"}, {Rule::Direction::horizontal, 1, "one"}};
  const std::string text = svg(std::vector<Chart>{chart});
  CHECK(well_formed(text));
  CHECK(count(text, "<circle") == 4 + 1);  // the legend's too
  CHECK(count(text, "<polygon") == 1);
  CHECK(count(text, "stroke-dasharray=\"6 4\"") == 2);
  CHECK(text.find(">here</text>") != std::string::npos);
  // The band is in the range of the axis.
  CHECK(scale_of(chart.y, y_values(chart), 0).high == 5);
}

TEST_CASE("a heat map has a cell for each value") {
  const HeatMap map{
      "Weights", "to", "from", {"it", "is"}, {"a", "<b>", "c"}, {0, 0.5, 1, 1, missing, 0},
      {},        {},   {}};
  const std::string text = svg(map);
  CHECK(well_formed(text));
  CHECK(count(text, "<title>") == 6);
  CHECK(text.find("<title>it, &lt;b&gt;: 0.5</title>") != std::string::npos);
  CHECK(count(text, "#d0d0d0") == 1);  // what is not a number
  CHECK(lines(terminal_text(map))[1] == "it │  ▒▒██│");
  CHECK(lines(terminal_text(map))[2] == "is │██ ×  │");
}

TEST_CASE("maps of a group stand side by side, and share the labels of their rows") {
  const HeatMap map{"one", "", "", {"it", "is"}, {"it", "is"}, {0, 1, 1, 0}, 0, 1, {}};
  HeatMap other = map;
  other.title = "two";
  const HeatMapGroup group{"both", {map, other}};
  const std::string text = svg(std::vector<HeatMapGroup>{group});
  CHECK(well_formed(text));
  CHECK(count(text, "<title>") == 8);
  CHECK(count(text, ">it</text>") == 1 + 2);  // of rows once, of columns twice
  CHECK(text.find(">both</text>") < text.find(">one</text>"));
  CHECK(text.find(">one</text>") < text.find(">two</text>"));
  // What no page is wide enough for goes on below.
  HeatMapGroup many{"many", std::vector<HeatMap>(40, map)};
  const std::string page = svg(std::vector<HeatMapGroup>{many});
  CHECK(count(page, ">it</text>") > 40 + 1);
  CHECK(std::stod(page.substr(page.find("width=\"") + 7)) < 1400);
}

TEST_CASE("the terminal's map has notes beside its rows, and wide characters take two places") {
  const HeatMap map{"", "", "", {"犬", "a"}, {"犬", "a"}, {0, 1, 1, 0}, 0, 1, {"a 1", "犬 1"}};
  const std::vector<std::string> all = lines(terminal_text(map));
  CHECK(all[1] == "犬 │  ██│ a 1");
  CHECK(all[2] == " a │██  │ 犬 1");
  CHECK(all[3] == "    columns as rows, blank is 0, full is 1");
}

TEST_CASE("the terminal's chart keeps to its size and names its curves") {
  const Chart chart = two_curves();
  const std::string text = terminal_text(chart, {60, 10});
  CHECK(text == terminal_text(chart, {60, 10}));
  const std::vector<std::string> all = lines(text);
  REQUIRE(all.size() == 1 + 10 + 2 + 1 + 2);
  for (const std::string& line : all) CHECK(characters(line) <= 60);
  CHECK(all[1].ends_with("a"));   // the first ends above,
  CHECK(all[10].ends_with("b"));  // the second below
  CHECK(all[14].find("a  first") != std::string::npos);
  CHECK(text.find("\x1b[") == std::string::npos);
  CHECK(terminal_text(chart, {60, 10}, true).find("\x1b[34m") != std::string::npos);
}

TEST_CASE("a falling line falls in the terminal") {
  Chart chart;
  chart.curves = {curve("", {4, 3, 2, 1, 0})};
  const std::vector<std::string> all = lines(terminal_text(chart, {40, 5}));
  std::vector<std::size_t> first_dot;
  for (std::size_t r = 1; r <= 5; ++r) {
    const std::size_t bar = std::min(all[r].find("│"), all[r].find("┤"));
    first_dot.push_back(all[r].find_first_not_of(' ', bar + 3));
  }
  CHECK(std::is_sorted(first_dot.begin(), first_dot.end()));
  CHECK(first_dot.front() < first_dot.back());
}
