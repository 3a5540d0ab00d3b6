#include "runtime/file_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "ir/diagnostic.h"
#include "runtime/atomic_file.h"
#include "runtime/random.h"

namespace treadle {
namespace {

namespace fs = std::filesystem;

// An entry: this line, the sizes of key and value, key, value, and a hash of
// all that.
constexpr std::string_view magic = "treadle cache 1\n";
constexpr std::string_view extension = ".entry";
constexpr std::size_t number_bytes = sizeof(std::uint64_t);
constexpr std::size_t frame_bytes = magic.size() + 3 * number_bytes;

void append(std::string& bytes, std::uint64_t number) {
  bytes.append(reinterpret_cast<const char*>(&number), number_bytes);
}

std::uint64_t number_at(std::string_view bytes, std::size_t at) {
  std::uint64_t out = 0;
  std::memcpy(&out, bytes.data() + at, number_bytes);
  return out;
}

// The bytes of a regular file of this user's, which nobody else could have
// written in his name; empty where it is none. It becomes the newest.
std::string own_file(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return {};
  std::string out;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == ::geteuid()) {
    out.resize(static_cast<std::size_t>(info.st_size));
    std::size_t done = 0;
    for (ssize_t n = 0; done < out.size(); done += static_cast<std::size_t>(n)) {
      n = ::read(fd, out.data() + done, out.size() - done);
      if (n <= 0) break;
    }
    out.resize(done);
    (void)::futimens(fd, nullptr);
  }
  ::close(fd);
  return out;
}

}  // namespace

fs::path FileCache::entry_of(std::string_view key) const {
  return folder_ / (fmt::format("{:016x}", hash_text(key)) + std::string(extension));
}

std::optional<std::string> FileCache::find(std::string_view key) const {
  const std::string bytes = own_file(entry_of(key));
  if (bytes.size() < frame_bytes || !bytes.starts_with(magic)) return std::nullopt;
  const std::uint64_t key_size = number_at(bytes, magic.size());
  const std::uint64_t value_size = number_at(bytes, magic.size() + number_bytes);
  const std::size_t room = bytes.size() - frame_bytes;
  if (key_size != key.size() || key_size > room || value_size != room - key_size)
    return std::nullopt;
  const std::size_t key_at = magic.size() + 2 * number_bytes;
  const std::string_view all(bytes.data(), bytes.size() - number_bytes);
  if (all.substr(key_at, key.size()) != key) return std::nullopt;
  if (hash_text(all) != number_at(bytes, all.size())) return std::nullopt;
  return bytes.substr(key_at + key.size(), value_size);
}

void FileCache::store(std::string_view key, std::string_view value) const {
  std::string bytes(magic);
  bytes.reserve(frame_bytes + key.size() + value.size());
  append(bytes, key.size());
  append(bytes, value.size());
  bytes.append(key);
  bytes.append(value);
  append(bytes, hash_text(bytes));
  if (bytes.size() > limit_) return;
  try {
    std::error_code error;
    const bool is_new = !fs::exists(folder_, error);
    create_folders(folder_);
    if (is_new) fs::permissions(folder_, fs::perms::owner_all, error);
    AtomicFile file(entry_of(key), AtomicFile::Durable::no);
    file.write(bytes);
    file.commit();
    trim();
  } catch (const UserError&) {
    return;
  } catch (const fs::filesystem_error&) {
    return;
  }
}

void FileCache::trim() const {
  struct Entry {
    fs::file_time_type used;
    std::uint64_t bytes;
    fs::path path;
  };
  std::vector<Entry> entries;
  std::uint64_t sum = 0;
  const auto stale = fs::file_time_type::clock::now() - std::chrono::hours(1);
  // Another process may remove what is listed here.
  std::error_code error;
  for (const fs::directory_entry& file : fs::directory_iterator(folder_)) {
    if (!file.is_regular_file(error)) continue;
    const fs::file_time_type used = file.last_write_time(error);
    if (error) continue;
    if (file.path().extension() == ".partial" && used < stale) fs::remove(file.path(), error);
    if (file.path().extension() != extension) continue;
    const std::uint64_t bytes = file.file_size(error);
    if (error) continue;
    entries.push_back({used, bytes, file.path()});
    sum += bytes;
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (sum <= limit_) return;
    fs::remove(entry.path, error);
    sum -= entry.bytes;
  }
}

}  // namespace treadle
