// The command line on graphs in text form.
#include <fstream>
#include <string>

#include "ir/diagnostic.h"
#include "ir/text_parser.h"
#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/cli/run.h"
#include "tests/support/graphs.h"

using namespace treadle;
using treadle::test::Run;
using treadle::test::run;

namespace {

const std::string example = std::string(TREADLE_SOURCE_DIR) + "/examples/my_cell.tir";

}  // namespace

TEST_CASE("opt joins the gates of the example and leaves one product in each loop") {
  const Run hoisted = run("opt " + example + " -p differentiate,hoist-scan --verify-each=numeric");
  REQUIRE(hoisted.status == 0);
  const Graph apart = parse_graph(hoisted.output);
  CHECK(test::count_ops(test::scan_body(apart, 0), Op::matmul) == 3);
  const Run fused =
      run("opt " + example + " -p differentiate,hoist-scan,fuse-gates --verify-each=numeric");
  REQUIRE(fused.status == 0);
  const Graph joined = parse_graph(fused.output);
  CHECK(test::count_ops(test::scan_body(joined, 0), Op::matmul) == 1);
  CHECK(test::count_ops(test::scan_body(joined, 1), Op::matmul) == 1);
}

TEST_CASE("what opt prints, opt reads and prints again") {
  const Run once = run("opt " + example + " -p batch,differentiate 2>/dev/null");
  // A batched loss is one a example, which has no gradient: the mistake is the user's.
  CHECK(once.status == 1);
  const Run gradient = run("opt " + example + " -p differentiate,batch");
  REQUIRE(gradient.status == 0);
  const std::string path = (test::fresh_folder("round_trip") / "graph.tir").string();
  std::ofstream(path) << gradient.output;
  CHECK(run("opt " + path).output == gradient.output);
}

TEST_CASE("gradcheck passes on the example, in both orders") {
  const Run result = run("gradcheck " + example + " -D T=4 --order 2");
  CHECK(result.status == 0);
  CHECK(result.output.find("WRONG") == std::string::npos);
  CHECK(result.output.find("Uv") != std::string::npos);
}

TEST_CASE("mistakes have their exit status and say what to do") {
  CHECK(run("opt no-such-file.tir 2>/dev/null").status == 1);
  const Run unknown = run("opt " + example + " -p hoist 2>&1");
  CHECK(unknown.status == 1);
  CHECK(unknown.output.find("T0820") != std::string::npos);
  CHECK(run("gradcheck " + example + " 2>/dev/null").status == 1);  // T has no value
  CHECK(run("weave 2>/dev/null").status == 2);
}

TEST_CASE("a text that is cut off anywhere is a mistake with a place, not a crash") {
  const std::string text = read_file(example);
  for (std::size_t length = 0; length + 3 < text.size(); length += 7)
    CHECK_THROWS_AS(parse_graph(std::string_view(text).substr(0, length)), UserError);
}

TEST_CASE("train learns the generated strokes, and two runs print the same") {
  const std::string model = std::string(TREADLE_SOURCE_DIR) + "/examples/strokes.tir";
  const std::string command = "train " + model + " --data strokes --examples 400 --epochs 2";
  const Run first = run(command);
  REQUIRE(first.status == 0);
  CHECK(first.output.find("epoch 2/2") != std::string::npos);
  CHECK(run(command).output == first.output);
  CHECK(run("train " + model + " --data adding 2>/dev/null").status == 1);  // other fields
  CHECK(run("train " + model + " --data noise 2>/dev/null").status == 1);
}

TEST_CASE("--verify-each=numeric sees a gradient that a pass lost") {
  // stop_gradient changes no value; truncate-bptt, which writes it, says so.
  CHECK(run("opt " + example + " -p 'truncate-bptt(1)' --verify-each=numeric > /dev/null").status ==
        0);
  CHECK(run("opt " + example +
            " -p 'unroll(2),simplify,differentiate,hoist-scan,fuse-gates,"
            "expand-composites,fuse-pointwise,place' --verify-each=numeric > /dev/null")
            .status == 0);
}
