// Documents as the tests of their examples read them.
#pragma once
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace treadle::test {

struct Block {
  std::string kind, text;  // what stands behind the fence, and between the fences
};

inline std::vector<Block> blocks_of(std::string_view document) {
  std::vector<Block> out;
  std::istringstream lines{std::string(document)};
  bool inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      if (!inside) out.push_back({line.substr(3), ""});
      inside = !inside;
    } else if (inside) {
      out.back().text += line + "\n";
    }
  }
  return out;
}

}  // namespace treadle::test
