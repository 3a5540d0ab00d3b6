// Commands keep compiled code between runs, where TREADLE_CACHE says.
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/catch.h"
#include "tests/cli/run.h"

using treadle::test::example;
using treadle::test::fresh_folder;
using treadle::test::Run;
using treadle::test::shell;
namespace fs = std::filesystem;

namespace {

Run with(const std::string& environment, const std::string& arguments) {
  return shell(environment + " " + TREADLE_EXECUTABLE + " " + arguments);
}

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> out;
  if (fs::exists(folder))
    for (const fs::directory_entry& file : fs::directory_iterator(folder))
      out.push_back(file.path());
  return out;
}

}  // namespace

TEST_CASE("every command that compiles keeps its code, and gives the same with it") {
  const fs::path base = fresh_folder("code_cache");
  const std::string run_folder = (base / "run").string();
  const std::string demo = example("demo") + " -D H=8 ";
  int number = 0;
  for (const std::string& arguments :
       {"train " + demo + "--epochs 1 -o " + run_folder, "eval " + demo + "--run " + run_folder,
        "memory " + demo + "--measure", "diagnose " + demo,
        "gradcheck " + example("my_cell") + " -D H=3 --after-each-pass"}) {
    INFO(arguments);
    const fs::path cache = base / ("cache" + std::to_string(number++));
    const std::string environment = "TREADLE_CACHE=" + cache.string();
    const bool is_exact = !arguments.starts_with("memory");  // that measures
    const Run without = with("TREADLE_CACHE=off", arguments);
    REQUIRE(without.status == 0);
    CHECK(!fs::exists(cache));
    const Run first = with(environment, arguments);
    CHECK(first.status == 0);
    const auto made = entries(cache);
    CHECK(!made.empty());
    for (const fs::path& file : made)
      fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::hours(1));
    const Run second = with(environment, arguments);
    CHECK(second.status == 0);
    if (is_exact) CHECK(first.output == without.output);
    if (is_exact) CHECK(second.output == without.output);
    CHECK(entries(cache).size() == made.size());
    for (const fs::path& file : made)  // each was used
      CHECK(fs::last_write_time(file) >
            fs::file_time_type::clock::now() - std::chrono::minutes(30));
  }
}

TEST_CASE("where compiled code is kept") {
  const fs::path base = fresh_folder("code_cache_places");
  const std::string arguments = "bench " + example("my_cell") + " -D B=2 --rounds 1 > /dev/null";
  const std::string a = (base / "a").string(), b = (base / "b").string();
  const auto kept = [&](const std::string& environment) {
    fs::remove_all(a);
    fs::remove_all(b);
    CHECK(with(environment, arguments).status == 0);
  };
  kept("TREADLE_CACHE= XDG_CACHE_HOME=" + a + " HOME=" + b);
  CHECK(entries(a + "/treadle").size() == 1);
  CHECK(!fs::exists(b));
  kept("TREADLE_CACHE= XDG_CACHE_HOME=relative HOME=" + b);
  CHECK(entries(b + "/.cache/treadle").size() == 1);
  kept("TREADLE_CACHE=" + a + " XDG_CACHE_HOME=" + b + " HOME=" + b);
  CHECK(entries(a).size() == 1);
  CHECK(!fs::exists(b));
  kept("TREADLE_CACHE=off XDG_CACHE_HOME=" + a + " HOME=" + b);
  CHECK((!fs::exists(a) && !fs::exists(b)));
  kept("TREADLE_CACHE= XDG_CACHE_HOME= HOME=");
  CHECK((!fs::exists(a) && !fs::exists(b)));
  kept("TREADLE_CACHE=/dev/null/cache");
}
