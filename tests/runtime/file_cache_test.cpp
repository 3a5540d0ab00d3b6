#include "runtime/file_cache.h"

#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "runtime/file.h"
#include "tests/catch.h"
#include "tests/support/temporary_folder.h"

using namespace treadle;
using treadle::test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const fs::directory_entry& file : fs::directory_iterator(folder)) out.push_back(file.path());
  return out;
}

void write(const fs::path& file, std::string_view bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

// Last used so many seconds ago.
void make_old(const fs::path& file, int seconds) {
  fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::seconds(seconds));
}

}  // namespace

TEST_CASE("a cache gives back what was stored under the same key") {
  const TemporaryFolder folder;
  const FileCache cache(folder.path() / "a" / "b");
  CHECK(!cache.find("key"));
  const std::string value("one\0two", 7);
  cache.store("key", value);
  cache.store("other", "");
  CHECK(cache.find("key") == value);
  CHECK(cache.find("other") == "");
  CHECK(!cache.find("key "));
  cache.store("key", "new");
  CHECK(cache.find("key") == "new");
  struct stat info {};
  REQUIRE(::stat((folder.path() / "a" / "b").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0700);
}

TEST_CASE("an entry that is cut off, longer or changed anywhere counts as none") {
  const TemporaryFolder folder;
  const FileCache cache(folder.path());
  cache.store("some key", "some value");
  const fs::path file = entries(folder.path()).at(0);
  const std::string whole = read_file(file);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write(file, whole.substr(0, size));
    CHECK(!cache.find("some key"));
  }
  write(file, whole + "x");
  CHECK(!cache.find("some key"));
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const int bit : {0, 7}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
      write(file, changed);
      INFO(at);
      CHECK(!cache.find("some key"));
    }
  cache.store("some key", "again");
  CHECK(cache.find("some key") == "again");
}

TEST_CASE("another key's entry in the key's place counts as none") {
  const TemporaryFolder one, two;
  const FileCache first(one.path()), second(two.path());
  first.store("key", "value");
  second.store("kez", "walue");
  write(entries(one.path()).at(0), read_file(entries(two.path()).at(0)));
  CHECK(!first.find("key"));
}

TEST_CASE("a folder that cannot be used is no error") {
  const TemporaryFolder folder;
  const fs::path file = folder.file("file", "");
  const FileCache below_a_file(file / "cache");
  below_a_file.store("key", "value");
  CHECK(!below_a_file.find("key"));
  const fs::path closed = folder.path() / "closed";
  const FileCache cache(closed);
  cache.store("key", "value");
  fs::permissions(closed, fs::perms::owner_read | fs::perms::owner_exec);
  cache.store("another", "value");
  if (::geteuid() != 0) CHECK(!cache.find("another"));  // root writes anywhere
  CHECK(cache.find("key") == "value");
  fs::permissions(closed, fs::perms::owner_all);
  // A folder in an entry's place.
  const fs::path entry = entries(closed).at(0);
  fs::remove(entry);
  fs::create_directory(entry);
  if (entries(closed).size() == 1) {
    cache.store("key", "value");
    CHECK(!cache.find("key"));
  }
}

TEST_CASE("what was not used for longest goes first") {
  const TemporaryFolder folder;
  const std::string value(1000, 'v');
  const FileCache cache(folder.path(), 3500);  // holds three
  const auto newest = [&] {
    fs::path out;
    for (const fs::path& path : entries(folder.path()))
      if (out.empty() || fs::last_write_time(path) > fs::last_write_time(out)) out = path;
    return out;
  };
  int age = 50;
  for (const char* key : {"a", "b", "c"}) {
    cache.store(key, value);
    make_old(newest(), age -= 10);
  }
  CHECK(cache.find("a") == value);  // used now
  cache.store("d", value);
  CHECK(cache.find("a") == value);
  CHECK(!cache.find("b"));
  CHECK(cache.find("c") == value);
  CHECK(cache.find("d") == value);
  // What a killed process left behind, and files that are not the cache's.
  const fs::path partial = folder.file(".x.partial", "half"), foreign = folder.file("foreign", "f");
  make_old(partial, 7200);
  make_old(foreign, 7200);
  cache.store("e", value);
  CHECK(!fs::exists(partial));
  CHECK(fs::exists(foreign));
  cache.store("large", std::string(4000, 'x'));
  CHECK(!cache.find("large"));
  CHECK(cache.find("e") == value);
}

TEST_CASE("writers and readers of one entry at once see whole entries") {
  const TemporaryFolder folder;
  const std::string one(20000, '1'), two(30000, '2');
  FileCache(folder.path()).store("key", one);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const FileCache cache(folder.path());
      for (int i = 0; i < 50; ++i) {
        cache.store("key", t % 2 == 0 ? one : two);
        const auto found = cache.find("key");
        if (found != one && found != two) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}
