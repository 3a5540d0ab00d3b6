#include "runtime/safetensors.h"

#include <sys/resource.h>

#include <csignal>

#include "runtime/atomic_file.h"
#include "runtime/file.h"
#include "tests/runtime/support.h"

using namespace treadle;
using namespace treadle::test;

namespace {

std::string file_with(const std::string& header, const std::string& data) {
  return raw(static_cast<std::uint64_t>(header.size())) + header + data;
}

std::string code_of(const std::string& bytes) {
  return error_code([&] { parse_safetensors(bytes, "x"); });
}

std::string entry(const std::string& name, const std::string& type, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

NamedTensors sample() {
  NamedTensors out;
  out.tensors.emplace_back("flag", tensor_of(DType::b1, {3}, {1, 0, 1}));
  out.tensors.emplace_back("weight", tensor_of(DType::f32, {2, 2}, {1.5, -2, 3, 4}));
  out.tensors.emplace_back("none", Tensor(DType::f32, {0, 7}));
  out.tensors.emplace_back("count", tensor_of(DType::i64, {}, {-7}));
  out.tensors.emplace_back("half", tensor_of(DType::bf16, {2}, {0.5, 1}));
  out.metadata = {{"format", "pt"}, {"note", "a \"quoted\" \xC3\xA9"}};
  return out;
}

std::size_t files_in(const std::filesystem::path& folder) {
  const std::filesystem::directory_iterator all(folder);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace

TEST_CASE("safetensors: written and read again") {
  const TemporaryFolder folder;
  const NamedTensors before = sample();
  write_safetensors(folder.path() / "a.safetensors", before);
  const NamedTensors after = read_safetensors(folder.path() / "a.safetensors");
  CHECK(after.metadata == before.metadata);
  REQUIRE(after.tensors.size() == before.tensors.size());
  for (const auto& [name, tensor] : before.tensors) {
    REQUIRE(after.find(name) != nullptr);
    CHECK(same_bits(*after.find(name), tensor));
  }
  CHECK(after.find("absent") == nullptr);
  CHECK(files_in(folder.path()) == 1);
  CHECK(read_file(folder.path() / "a.safetensors") == safetensors_bytes(before));
}

TEST_CASE("safetensors: nothing in it") {
  CHECK(parse_safetensors(safetensors_bytes({}), "x").tensors.empty());
}

TEST_CASE("safetensors: types that we lack are widened") {
  const std::string bytes = file_with(
      "{" + entry("h", "F16", "[1]", "[0,2]") + "," + entry("b", "U8", "[2]", "[2,4]") + "}",
      raw<std::uint16_t>(0xC000) + "\x01\xFF");
  const NamedTensors out = parse_safetensors(bytes, "x");
  CHECK(same_bits(*out.find("h"), tensor_of(DType::f32, {1}, {-2.0})));
  CHECK(same_bits(*out.find("b"), tensor_of(DType::i32, {2}, {1, 255})));
}

TEST_CASE("safetensors: every truncation is an error") {
  const std::string bytes = safetensors_bytes(sample());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::string code = code_of(bytes.substr(0, size));
    CHECK((code == "T0911" || code == "T0953" || code == "T0954"));
  }
  CHECK(code_of(bytes + "z") == "T0954");
}

TEST_CASE("safetensors: no damaged byte crashes the reader") {
  const std::string bytes = safetensors_bytes(sample());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      const std::string code = code_of(damaged);
      CHECK((code == "none" || code.starts_with("T09")));
    }
}

TEST_CASE("safetensors: lying headers") {
  CHECK(code_of(raw(std::uint64_t{0})) == "T0956");
  CHECK(code_of(raw(~std::uint64_t{0}) + "{}") == "T0956");
  CHECK(code_of(raw(std::uint64_t{99'999'999}) + "{}") == "T0911");
  CHECK(code_of(file_with("[1, 2]", "")) == "T0951");
  CHECK(code_of(file_with("{\"a\":", "")) == "T0951");
  CHECK(code_of(file_with("{\"a\":3}", "")) == "T0951");
  CHECK(code_of(file_with("{\"__metadata__\":{\"a\":1}}", "")) == "T0951");
  CHECK(code_of(file_with("{" + entry("a", "F32", "[-1]", "[0,4]") + "}", "1234")) == "T0951");
  CHECK(code_of(file_with("{" + entry("a", "F32", "[1]", "[0]") + "}", "1234")) == "T0951");
  CHECK(code_of(file_with("{" + entry("a", "F8", "[1]", "[0,4]") + "}", "1234")) == "T0952");
  CHECK(code_of(file_with("{" + entry("a", "F32", "[2]", "[0,8]") + "}", "1234")) == "T0953");
  CHECK(code_of(file_with("{" + entry("a", "F32", "[1]", "[4,0]") + "}", "1234")) == "T0953");
  CHECK(code_of(file_with("{" + entry("a", "F32", "[2]", "[0,4]") + "}", "1234")) == "T0953");
  CHECK(code_of(file_with("{" + entry("a", "F64", "[1]", "[0,4]") + "}", "1234")) == "T0953");
  CHECK(code_of(file_with("{" + entry("a", "F32", "[9223372036854775807,9]", "[0,4]") + "}",
                          "1234")) == "T0917");
  CHECK(code_of(file_with(std::string(200'000, '['), "")) == "T0951");
}

TEST_CASE("safetensors: tensors that overlap, leave a gap or share a name") {
  const auto two = [](const char* second, const char* name) {
    return file_with(
        "{" + entry("a", "F32", "[1]", "[0,4]") + "," + entry(name, "F32", "[1]", second) + "}",
        "123456789ABC");
  };
  CHECK(code_of(two("[0,4]", "b")) == "T0954");
  CHECK(code_of(two("[2,6]", "b")) == "T0954");
  CHECK(code_of(two("[8,12]", "b")) == "T0954");
  CHECK(code_of(two("[4,8]", "a")) == "T0955");
  CHECK(code_of(two("[4,8]", "b")) == "T0954");
}

TEST_CASE("atomic files: the target keeps its content until the commit") {
  const TemporaryFolder folder;
  const auto path = folder.file("a", "old");
  {
    AtomicFile file(path);
    file.write("half");
    CHECK(read_file(path) == "old");
  }
  CHECK(read_file(path) == "old");
  CHECK(files_in(folder.path()) == 1);
  write_file_atomically(path, "new");
  CHECK(read_file(path) == "new");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("atomic files: a symbolic link is followed") {
  const TemporaryFolder folder;
  const auto path = folder.file("a", "old");
  std::filesystem::create_symlink(path, folder.path() / "link");
  write_file_atomically(folder.path() / "link", "new");
  CHECK(read_file(path) == "new");
  CHECK(std::filesystem::is_symlink(folder.path() / "link"));
}

TEST_CASE("atomic files: a missing folder, a folder as target, a full disk") {
  const TemporaryFolder folder;
  CHECK(error_code([&] { write_file_atomically(folder.path() / "no" / "a", "x"); }) == "T0960");
  CHECK(error_code([&] { write_file_atomically(folder.path(), "x"); }) == "T0960");
  CHECK(error_code([&] { write_file_atomically("/dev/full", "x"); }) == "T0961");
  const auto file = folder.file("plain", "");
  CHECK(error_code([&] { create_folders(file / "below"); }) == "T0960");
  create_folders(folder.path() / "p" / "q");
  CHECK(std::filesystem::is_directory(folder.path() / "p" / "q"));
}

TEST_CASE("atomic files: running out of room leaves the old content and no litter") {
  const TemporaryFolder folder;
  const auto path = folder.file("a", "old");
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 1000;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string code = error_code([&] { write_file_atomically(path, std::string(5000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(code == "T0961");
  CHECK(read_file(path) == "old");
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("atomic files: a folder that may not be written to") {
  const TemporaryFolder folder;
  std::filesystem::permissions(folder.path(), std::filesystem::perms(0555));
  // The superuser may write anywhere, so the test becomes somebody else.
  const bool superuser = ::geteuid() == 0;
  if (superuser) REQUIRE(::seteuid(65534) == 0);
  const std::string code = error_code([&] { write_file_atomically(folder.path() / "a", "x"); });
  if (superuser) REQUIRE(::seteuid(0) == 0);
  CHECK(code == "T0962");
  CHECK(files_in(folder.path()) == 0);
}
