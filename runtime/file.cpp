#include "runtime/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

// What is not a regular file (a pipe, a device) has no size to check first.
constexpr std::uint64_t stream_limit = std::uint64_t{1} << 30;
constexpr std::size_t chunk = std::size_t{1} << 18;

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

[[noreturn]] void cannot_read(const std::filesystem::path& path, int error) {
  std::string hint;
  if (error == ENOENT) hint = "check the path; relative paths start at the current folder";
  if (error == EACCES) hint = "check the permissions of the file and its folders";
  throw_user_error("T0910", fmt::format("cannot read {}: {}", path.string(), std::strerror(error)),
                   hint);
}

[[noreturn]] void too_large(const std::filesystem::path& path, std::uint64_t limit) {
  throw_user_error("T0912",
                   fmt::format("{} is too large: the limit is {} bytes", path.string(), limit));
}

// Up to `count` bytes; fewer only at the end of the file.
std::size_t read_fully(const Descriptor& in, char* out, std::size_t count,
                       const std::filesystem::path& path) {
  std::size_t total = 0;
  while (total < count) {
    const ssize_t got = ::read(in.fd, out + total, count - total);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) cannot_read(path, errno);
    if (got == 0) break;
    total += static_cast<std::size_t>(got);
  }
  return total;
}

std::string read_stream(const Descriptor& in, const std::filesystem::path& path,
                        std::uint64_t limit) {
  std::string out;
  for (;;) {
    const std::size_t before = out.size();
    out.resize(before + chunk);
    const std::size_t got = read_fully(in, out.data() + before, chunk, path);
    out.resize(before + got);
    if (out.size() > limit) too_large(path, limit);
    if (got < chunk) return out;
  }
}

// zlib's inflate over a buffer in memory.
class Inflater {
 public:
  explicit Inflater(const std::string& packed) {
    ensure(inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK, "gzip", "inflateInit2 failed");
    next_ = packed.data();
    left_ = packed.size();
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Unpacks into `out`; returns zlib's status and sets `written`.
  int step(char* out, std::size_t size, std::size_t& written) {
    if (stream_.avail_in == 0) refill();
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = static_cast<uInt>(size);
    const int status = inflate(&stream_, Z_NO_FLUSH);
    written = size - stream_.avail_out;
    return status;
  }
  bool at_end() const { return left_ == 0 && stream_.avail_in == 0; }
  void next_member() { inflateReset(&stream_); }

 private:
  void refill() {
    const std::size_t count = std::min<std::size_t>(left_, std::size_t{1} << 30);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(next_));
    stream_.avail_in = static_cast<uInt>(count);
    next_ += count;
    left_ -= count;
  }
  z_stream stream_{};
  const char* next_ = nullptr;
  std::size_t left_ = 0;
};

std::string unpack(const std::string& packed, const std::filesystem::path& path,
                   std::uint64_t limit) {
  Inflater inflater(packed);
  std::string out;
  for (;;) {
    const std::size_t before = out.size();
    out.resize(before + chunk);
    std::size_t written = 0;
    const int status = inflater.step(out.data() + before, chunk, written);
    out.resize(before + written);
    if (out.size() > limit) too_large(path, limit);
    if (status == Z_STREAM_END) {
      if (inflater.at_end()) return out;
      inflater.next_member();
    } else if (status == Z_BUF_ERROR || (status == Z_OK && written == 0 && inflater.at_end())) {
      throw_user_error("T0911",
                       fmt::format("{} is truncated: its gzip stream ends early", path.string()),
                       "the file is incomplete or damaged: fetch or write it again");
    } else if (status != Z_OK) {
      throw_user_error(
          "T0913", fmt::format("{} is damaged: its gzip stream cannot be unpacked", path.string()),
          "the file is damaged: fetch or write it again");
    }
  }
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::uint64_t limit) {
  Descriptor in;
  in.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (in.fd < 0) cannot_read(path, errno);
  struct stat info {};
  if (::fstat(in.fd, &info) != 0) cannot_read(path, errno);
  if (S_ISDIR(info.st_mode)) cannot_read(path, EISDIR);
  if (!S_ISREG(info.st_mode) || info.st_size == 0)
    return read_stream(in, path, std::min(limit, stream_limit));
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size > limit) too_large(path, limit);
  std::string out(static_cast<std::size_t>(size), '\0');
  out.resize(read_fully(in, out.data(), out.size(), path));
  return out;
}

std::string read_file_or_gzip(const std::filesystem::path& path, std::uint64_t limit) {
  std::string bytes = read_file(path, limit);
  if (!bytes.starts_with("\x1f\x8b")) return bytes;
  return unpack(bytes, path, limit);
}

}  // namespace treadle
