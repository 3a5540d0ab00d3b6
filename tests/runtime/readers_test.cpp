#include <zlib.h>

#include "runtime/file.h"
#include "runtime/readers/csv.h"
#include "runtime/readers/idx.h"
#include "runtime/readers/npy.h"
#include "runtime/readers/text.h"
#include "tests/runtime/support.h"

using namespace treadle;
using namespace treadle::test;

namespace {

std::string small_idx() {
  using namespace std::string_literals;
  return "\0\0\x08\x02\0\0\0\x02\0\0\0\x03\x00\x01\x02\x03\xFE\xFF"s;
}

std::string gzip(std::string_view text) {
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace

TEST_CASE("idx: bytes are widened to the type asked for") {
  const Tensor reals = parse_idx(small_idx(), DType::f32, "x");
  CHECK(reals.shape() == Shape{2, 3});
  CHECK(reals.as<float>()[4] == 254.0F);
  const Tensor integers = parse_idx(small_idx(), DType::i32, "x");
  CHECK(integers.as<std::int32_t>()[5] == 255);
}

TEST_CASE("idx: big-endian elements") {
  using namespace std::string_literals;
  const std::string file = "\0\0\x0C\x01\0\0\0\x02\0\0\x01\x00\xFF\xFF\xFF\xFE"s;
  const Tensor out = parse_idx(file, DType::i32, "x");
  CHECK(out.as<std::int32_t>()[0] == 256);
  CHECK(out.as<std::int32_t>()[1] == -2);
  const std::string real = "\0\0\x0D\x01\0\0\0\x01\x3F\xC0\0\0"s;
  CHECK(parse_idx(real, DType::f32, "x").as<float>()[0] == 1.5F);
  CHECK(error_code([&] { parse_idx(real, DType::i32, "x"); }) == "T0918");
}

TEST_CASE("idx: every truncation and what follows the end are errors") {
  const std::string file = small_idx();
  for (std::size_t size = 0; size < file.size(); ++size)
    CHECK(error_code([&] { parse_idx(file.substr(0, size), DType::f32, "x"); }) == "T0911");
  CHECK(error_code([&] { parse_idx(file + "z", DType::f32, "x"); }) == "T0916");
}

TEST_CASE("idx: lying headers") {
  using namespace std::string_literals;
  const auto code = [](const std::string& file) {
    return error_code([&] { parse_idx(file, DType::f32, "x"); });
  };
  CHECK(code("PK\x08\x01\0\0\0\x01\0"s) == "T0914");
  CHECK(code("\0\0\x0A\x01\0\0\0\x01\0"s) == "T0915");
  CHECK(code("\0\0\x08\x01\xFF\xFF\xFF\xFF\0"s) == "T0911");
  CHECK(code("\0\0\x08\x03\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"s) == "T0917");
  CHECK(code("\0\0\x08\x03\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\0\0\0\0"s) == "T0901");
}

TEST_CASE("idx: gzip files, whole, joined, truncated and damaged") {
  const TemporaryFolder folder;
  const std::string packed = gzip(small_idx());
  CHECK(read_idx(folder.file("a.gz", packed), DType::i32).shape() == Shape{2, 3});
  const std::string half = small_idx();
  const auto joined = folder.file("b.gz", gzip(half.substr(0, 9)) + gzip(half.substr(9)));
  CHECK(read_idx(joined, DType::i32).as<std::int32_t>()[5] == 255);
  for (std::size_t size = 0; size < packed.size(); ++size)
    CHECK(error_code([&] { read_idx(folder.file("c.gz", packed.substr(0, size)), DType::i32); }) !=
          "none");
  for (std::size_t i = 2; i < packed.size(); ++i) {
    std::string damaged = packed;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x55);
    const auto path = folder.file("d.gz", damaged);
    const std::string code = error_code([&] { read_idx(path, DType::i32); });
    CHECK((code == "none" || code.starts_with("T09")));
    if (code == "none") CHECK(i < 10);  // time, flags and system of the gzip header only
  }
}

TEST_CASE("files: missing, a folder, too large") {
  const TemporaryFolder folder;
  CHECK(error_code([&] { read_file(folder.path() / "absent"); }) == "T0910");
  CHECK(error_code([&] { read_file(folder.path()); }) == "T0910");
  const auto path = folder.file("a", "12345");
  CHECK(read_file(path, 5) == "12345");
  CHECK(error_code([&] { read_file(path, 4); }) == "T0912");
  CHECK(read_file(folder.file("empty", "")).empty());
  const auto bomb = folder.file("bomb.gz", gzip(std::string(3'000'000, 'a')));
  CHECK(error_code([&] { read_file_or_gzip(bomb, 1'000'000); }) == "T0912");
}

TEST_CASE("csv: header, chosen columns, quotes, blank lines, CR LF, byte order mark") {
  CsvOptions options;
  options.header = true;
  options.columns = {"b", "1", "-1"};
  const Csv out = parse_csv(
      "\xEF\xBB\xBF\"a\",b,\"c \"\"d\"\"\"\r\n1, 2.5 ,\"-3e1\"\r\n\r\n+4,5,6\n", options, "x.csv");
  CHECK(out.names == std::vector<std::string>{"b", "a", "c \"d\""});
  CHECK(same_bits(out.values, tensor_of(DType::f32, {2, 3}, {2.5, 1.0, -30.0, 5.0, 4.0, 6.0})));
}

TEST_CASE("csv: skipped lines, white space as separator, integers") {
  CsvOptions options;
  options.skip_lines = 1;
  options.separator = ' ';
  options.dtype = DType::i32;
  const Csv out = parse_csv("ignore, me\n 1  2\t3 \n4 5 6", options, "x");
  CHECK(same_bits(out.values, tensor_of(DType::i32, {2, 3}, {1, 2, 3, 4, 5, 6})));
}

TEST_CASE("csv: a hole names its line and column") {
  CsvOptions options;
  options.header = true;
  const std::string text =
      error_text([&] { parse_csv("date,co2\n19580503,316.9\n19580510,\n", options, "co2.csv"); });
  CHECK(text.find("co2.csv:3:10: error[T0920]") != std::string::npos);
  CHECK(text.find("column 2 ('co2') is empty") != std::string::npos);
}

TEST_CASE("csv: every mistake has its code") {
  const auto code = [](std::string_view text, const CsvOptions& options = {}) {
    return error_code([&] { parse_csv(text, options, "x"); });
  };
  CHECK(code("1,,3\n") == "T0920");
  CHECK(code("1,two\n") == "T0921");
  CHECK(code("1,2x\n") == "T0921");
  CHECK(code("1,nan\n") == "T0921");
  CHECK(code("1,1e999\n") == "T0921");
  CHECK(code("1,2\n3\n") == "T0922");
  CHECK(code("") == "T0924");
  CHECK(code("\n\n") == "T0924");
  CHECK(code("1,\"2\n") == "T0925");
  CsvOptions options;
  options.dtype = DType::i32;
  CHECK(code("1.5\n", options) == "T0921");
  CHECK(code("3000000000\n", options) == "T0921");
  options.columns = {"3"};
  CHECK(code("1,2\n", options) == "T0923");
  options.columns = {"0"};
  CHECK(code("1,2\n", options) == "T0923");
  options.columns = {"-3"};
  CHECK(code("1,2\n", options) == "T0923");
}

TEST_CASE("csv: a hole in a column that is not kept does no harm") {
  CsvOptions options;
  options.columns = {"2"};
  CHECK(parse_csv(",1\nx,2\n", options, "x").values.shape() == Shape{2, 1});
}

TEST_CASE("npy: written and read again, every type") {
  const TemporaryFolder folder;
  for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64, DType::b1}) {
    const Tensor tensor = tensor_of(dtype, {2, 1, 3}, {0, 1, -2, 3, 4, 5});
    write_npy(folder.path() / "a.npy", tensor);
    CHECK(same_bits(read_npy(folder.path() / "a.npy"), tensor));
  }
  for (const Shape& shape : {Shape{}, Shape{0, 4}, Shape{1}}) {
    const Tensor tensor(DType::f32, shape);
    CHECK(same_bits(parse_npy(npy_bytes(tensor), "x"), tensor));
  }
  const Tensor half = tensor_of(DType::bf16, {2}, {1.5, -2.0});
  CHECK(same_bits(parse_npy(npy_bytes(half), "x"), half.cast(DType::f32)));
}

namespace {
std::string npy_with(const std::string& header, const std::string& data) {
  return std::string("\x93NUMPY\x01\0", 8) + raw(static_cast<std::uint16_t>(header.size())) +
         header + data;
}
}  // namespace

TEST_CASE("npy: Fortran order, big-endian, narrow types") {
  const std::string columns = raw(1) + raw(4) + raw(2) + raw(5) + raw(3) + raw(6);
  const Tensor out = parse_npy(
      npy_with("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3), }\n", columns), "x");
  CHECK(same_bits(out, tensor_of(DType::i32, {2, 3}, {1, 2, 3, 4, 5, 6})));
  const Tensor big = parse_npy(
      npy_with("{'descr': '>i2', 'fortran_order': False, 'shape': (1,), }", "\x01\x02"), "x");
  CHECK(same_bits(big, tensor_of(DType::i32, {1}, {258})));
  const Tensor half =
      parse_npy(npy_with("{\"descr\": \"<f2\", 'fortran_order': False, 'shape': (3,)}",
                         raw<std::uint16_t>(0x3E00) + raw<std::uint16_t>(0x0001) +
                             raw<std::uint16_t>(0xFC00)),
                "x");
  CHECK(half.as<float>()[0] == 1.5F);
  CHECK(half.as<float>()[1] == std::ldexp(1.0F, -24));
  CHECK(half.as<float>()[2] == -std::numeric_limits<float>::infinity());
}

TEST_CASE("npy: every truncation and every lie is an error") {
  const std::string file = npy_bytes(tensor_of(DType::f32, {2}, {1, 2}));
  for (std::size_t size = 0; size < file.size(); ++size)
    CHECK(error_code([&] { parse_npy(file.substr(0, size), "x"); }) == "T0911");
  const auto code = [](const std::string& header, const std::string& data = {}) {
    return error_code([&] { parse_npy(npy_with(header, data), "x"); });
  };
  const std::string lead = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
  CHECK(code(lead + "(1,)}", "12345678") == "T0916");
  CHECK(code(lead + "(9223372036854775807, 9)}") == "T0917");
  CHECK(code(lead + "(99999999999999999999,)}") == "T0940");
  CHECK(code(lead + "(4000000000,)}") == "T0911");
  CHECK(code(lead + "(-1,)}") == "T0940");
  CHECK(code(lead + "(1") == "T0940");
  CHECK(code(lead + "(1,)} x") == "T0940");
  CHECK(code("{'descr': '<f4'}") == "T0940");
  CHECK(code("") == "T0940");
  CHECK(code("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") == "T0941");
  CHECK(code("{'descr': '', 'fortran_order': False, 'shape': (1,)}") == "T0941");
  CHECK(error_code([] { parse_npy("NUMPY and more", "x"); }) == "T0914");
}

TEST_CASE("npy: no damaged byte crashes the reader") {
  const std::string file = npy_bytes(tensor_of(DType::f32, {2}, {1, 2}));
  for (std::size_t i = 0; i < file.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = file;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      const std::string code = error_code([&] { parse_npy(damaged, "x"); });
      CHECK((code == "none" || code.starts_with("T09")));
    }
}

TEST_CASE("text: a file as one sequence of characters") {
  const TemporaryFolder folder;
  const EncodedText out = read_text(folder.file("a.txt",
                                                "b\xC3\xA9"
                                                "ab\n"));
  CHECK(out.vocabulary.tokens() == std::vector<std::string>{"\n", "a", "b", "\xC3\xA9"});
  CHECK(same_bits(out.tokens, tensor_of(DType::i32, {5}, {2, 3, 1, 2, 0})));
  CHECK(error_code([&] { read_text(folder.file("empty.txt", "")); }) == "T0931");
  const auto broken = folder.file("latin.txt", "caf\xE9");
  CHECK(error_code([&] { read_text(broken); }) == "T0930");
  CHECK(error_text([&] { read_text(broken); }).find("latin.txt") != std::string::npos);
  CHECK(read_text(broken, TokenUnit::byte).tokens.size() == 4);
}

TEST_CASE("text: lines as sequences") {
  const TemporaryFolder folder;
  const EncodedLines out = read_line_sequences(folder.file("names.txt", "ab\r\n\nb\nabc"));
  CHECK(out.offsets == std::vector<std::int64_t>{0, 2, 3, 6});
  CHECK(same_bits(out.tokens, tensor_of(DType::i32, {6}, {0, 1, 1, 0, 1, 2})));
  const EncodedLines words =
      read_line_sequences(folder.file("words.txt", "the cat\nthe dog\n"), TokenUnit::word);
  CHECK(words.offsets == std::vector<std::int64_t>{0, 2, 4});
  CHECK(words.vocabulary.tokens() == std::vector<std::string>{"<unk>", "the", "cat", "dog"});
}

TEST_CASE("labels out of range name the first offender") {
  const Tensor labels = tensor_of(DType::i32, {4}, {0, 9, 10, -1});
  CHECK(error_code([&] { require_class_indices(labels, 11, "y"); }) == "T0927");
  CHECK(error_text([&] {
          require_class_indices(labels, 10, "y");
        }).find("label 10 at index 2 is not in 0 .. 9") != std::string::npos);
  require_class_indices(tensor_of(DType::i32, {2}, {0, 9}), 10, "y");
}
