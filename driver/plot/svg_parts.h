// What drawings in SVG are put together from.
#pragma once
#include <string>
#include <string_view>

namespace treadle::svg_parts {

// Mean width of a character at the documents' size of letters.
inline constexpr double character = 7;

std::string escaped(std::string_view text);
// Chinese, Japanese and Korean characters are twice as wide as others.
double text_width(std::string_view text);
// Two decimals, without trailing zeros.
std::string number(double value);
// `more` stands in the tag; `content` is escaped.
std::string text(double x, double y, std::string_view anchor, std::string_view content,
                 std::string_view more = "");
std::string line(double x1, double y1, double x2, double y2, std::string_view style);
std::string document(double width, double height, std::string_view content);

}  // namespace treadle::svg_parts
