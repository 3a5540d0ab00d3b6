#include <filesystem>
#include <fstream>
#include <string>

#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/cli/run.h"
#include "tests/support/temporary_folder.h"

using treadle::read_file;
using treadle::test::Run;
using treadle::test::run;

namespace {

const std::string untidy = "dim  H=3 # three\ntest \"g\" {gradcheck M}\n";
const std::string tidy = "dim H = 3  # three\ntest \"g\" { gradcheck M }\n";
const std::string wrong = "dim  H=\n";

class Folder {
 public:
  std::string write(const std::string& name, const std::string& text) const {
    return folder_.file(name, text).string();
  }

 private:
  treadle::test::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("fmt rewrites a program in place, and only if it changes") {
  const Folder folder;
  const std::string file = folder.write("a.tdl", untidy);
  const Run first = run("fmt " + file + " 2>&1");
  CHECK(first.status == 0);
  CHECK(first.output.empty());
  CHECK(read_file(file) == tidy);
  const auto long_ago = std::filesystem::last_write_time(file) - std::chrono::hours(5);
  std::filesystem::last_write_time(file, long_ago);
  CHECK(run("fmt " + file).status == 0);
  CHECK(std::filesystem::last_write_time(file) == long_ago);
}

TEST_CASE("fmt leaves a program with a mistake alone and formats the others") {
  const Folder folder;
  const std::string bad = folder.write("bad.tdl", wrong), good = folder.write("good.tdl", untidy);
  const Run result = run("fmt " + bad + " " + good + " 2>&1");
  CHECK(result.status == 1);
  CHECK(result.output.find("bad.tdl:1:8: error[T0102]") != std::string::npos);
  CHECK(read_file(bad) == wrong);
  CHECK(read_file(good) == tidy);
  CHECK(run("fmt " + bad + ".none 2>&1").status == 1);
}

TEST_CASE("fmt --check lists what would change and writes nothing") {
  const Folder folder;
  const std::string changes = folder.write("changes.tdl", untidy);
  const std::string stays = folder.write("stays.tdl", tidy);
  const std::string bad = folder.write("bad.tdl", wrong);
  const Run result = run("fmt --check " + changes + " " + stays);
  CHECK(result.status == 3);
  CHECK(result.output == changes + "\n");
  CHECK(read_file(changes) == untidy);
  CHECK(run("fmt --check " + stays).status == 0);
  CHECK(run("fmt --check " + changes + " " + bad + " 2>&1").status == 1);
  CHECK(run("fmt --check - < " + changes).output == "<stdin>\n");
}

TEST_CASE("fmt writes to standard output when asked, and from standard input") {
  const Folder folder;
  const std::string file = folder.write("a.tdl", untidy);
  CHECK(run("fmt - < " + file).output == tidy);
  CHECK(run("fmt --stdout " + file).output == tidy);
  CHECK(read_file(file) == untidy);
  const Run mistake = run("fmt - < " + folder.write("bad.tdl", wrong) + " 2>/dev/null");
  CHECK(mistake.status == 1);
  CHECK(mistake.output.empty());
  CHECK(run("fmt 2>/dev/null").status == 2);
  CHECK(run("fmt --check --stdout " + file + " 2>/dev/null").status == 2);
}
