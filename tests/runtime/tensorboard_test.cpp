#include "runtime/tensorboard.h"

#include "runtime/file.h"
#include "tests/runtime/support.h"

using namespace treadle;
using namespace treadle::test;

TEST_CASE("crc32c: the check value of RFC 3720 and others") {
  CHECK(crc32c("123456789") == 0xE3069283);
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AA);
  CHECK(crc32c(std::string(32, '\xFF')) == 0x62A8AB43);
}

TEST_CASE("event files: the bytes of one scalar, spelled out") {
  using namespace std::string_literals;
  const TemporaryFolder folder;
  {
    EventWriter writer(folder.path(), "r");
    writer.scalar("loss", 300, 1.5);
  }
  const std::string bytes = read_file(folder.path() / "events.out.tfevents.r.treadle");
  const std::string version = "\x09"s + raw(0.0) + "\x10\x00"s + "\x1A\x0D"s + "brain.Event:2";
  const std::string item = "\x0A\x04loss\x15"s + raw(1.5F);
  const std::string scalar = "\x09"s + raw(300.0) + "\x10\xAC\x02"s + "\x2A\x0D\x0A\x0B"s + item;
  std::string expected;
  for (const std::string& event : {version, scalar}) {
    const std::string length = raw(static_cast<std::uint64_t>(event.size()));
    expected += length + raw(masked_crc32c(length)) + event + raw(masked_crc32c(event));
  }
  CHECK(bytes == expected);
}

TEST_CASE("event files: written, read, and resumed to the same bytes") {
  const TemporaryFolder folder;
  const auto write = [&](std::int64_t begin, std::int64_t end) {
    EventWriter writer(folder.path() / "runs", "a", begin);
    for (std::int64_t step = begin; step < end; ++step) {
      writer.scalar("loss", step, 1.0 / static_cast<double>(step + 1));
      writer.scalar("rate", step, static_cast<double>(step));
    }
    writer.flush();
    return writer.path();
  };
  const auto path = write(0, 5000);
  const std::string whole = read_file(path);
  const std::vector<ScalarEvent> events = read_events(path);
  REQUIRE(events.size() == 10'000);
  CHECK(events[7] == ScalarEvent{3, "rate", 3.0F});
  write(3000, 5000);
  CHECK(read_file(path) == whole);
  std::filesystem::resize_file(path, whole.size() - 5);
  CHECK(read_events(path).size() == 9'999);
  write(4999, 5000);
  CHECK(read_file(path) == whole);
  write(0, 5000);
  CHECK(read_file(path) == whole);
}

TEST_CASE("event files: truncated and damaged") {
  const TemporaryFolder folder;
  std::filesystem::path path;
  {
    EventWriter writer(folder.path(), "r");
    writer.scalar("a", 1, 2);
    path = writer.path();
  }
  const std::string bytes = read_file(path);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto cut = folder.file("cut", bytes.substr(0, size));
    CHECK(read_events(cut).empty());
  }
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    const auto other = folder.file("damaged", damaged);
    const std::string code = error_code([&] { read_events(other); });
    CHECK((code == "T0914" || code == "T0990"));
  }
}
