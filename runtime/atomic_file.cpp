#include "runtime/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "ir/diagnostic.h"

namespace treadle {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void cannot_write(const fs::path& path, int error) {
  const std::string message =
      fmt::format("cannot write {}: {}", path.string(), std::strerror(error));
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      throw_user_error("T0961", message,
                       "free some space or choose another folder; nothing was changed");
    case EACCES:
    case EPERM:
    case EROFS:
      throw_user_error("T0962", message,
                       "choose a folder that you may write to; nothing was changed");
    case ENOENT:
    case ENOTDIR: throw_user_error("T0960", message, "the folder does not exist: create it first");
    default: throw_user_error("T0960", message);
  }
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

fs::path follow_link(const fs::path& path) {
  std::error_code error;
  if (!fs::is_symlink(path, error)) return path;
  fs::path target = fs::weakly_canonical(path, error);
  return error ? path : target;
}

// Without this a crash of the machine could forget the rename. File systems
// that cannot sync a folder say EINVAL, which loses nothing.
void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  const int status = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  if (status != 0 && error != EINVAL && error != ENOTSUP) cannot_write(folder, error);
}

}  // namespace

AtomicFile::AtomicFile(const fs::path& target, Durable durable)
    : target_(follow_link(target)), durable_(durable) {
  struct stat info {};
  const bool exists = ::stat(target_.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) cannot_write(target_, EISDIR);
  if (exists && !S_ISREG(info.st_mode)) {
    direct_ = true;
    written_ = target_;
    fd_ = ::open(written_.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd_ < 0) cannot_write(target_, errno);
    return;
  }
  create_new_file();
  if (exists) (void)::fchmod(fd_, info.st_mode & 07777);
}

void AtomicFile::create_new_file() {
  const std::string name = target_.filename().string();
  for (int attempt = 0; attempt < 1000; ++attempt) {
    written_ = folder_of(target_) /
               fmt::format(".{}.{}-{}.partial", name.substr(0, 200), ::getpid(), attempt);
    fd_ = ::open(written_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ >= 0) return;
    if (errno != EEXIST) cannot_write(target_, errno);
  }
  cannot_write(target_, EEXIST);
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() {
  if (fd_ < 0) return;
  ::close(std::exchange(fd_, -1));
  if (!direct_) ::unlink(written_.c_str());
}

void AtomicFile::fail(int error) {
  discard();
  cannot_write(target_, error);
}

void AtomicFile::write(std::string_view bytes) {
  ensure(fd_ >= 0, "atomic file", "written after commit");
  while (!bytes.empty()) {
    const ssize_t count =
        ::write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), std::size_t{1} << 30));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(errno);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

void AtomicFile::commit() {
  ensure(fd_ >= 0, "atomic file", "committed twice");
  const bool syncs = durable_ == Durable::yes;
  if (syncs && ::fsync(fd_) != 0 && !direct_) fail(errno);
  if (::close(std::exchange(fd_, -1)) != 0) {
    const int error = errno;
    if (!direct_) ::unlink(written_.c_str());
    cannot_write(target_, error);
  }
  if (direct_) return;
  if (::rename(written_.c_str(), target_.c_str()) != 0) {
    const int error = errno;
    ::unlink(written_.c_str());
    cannot_write(target_, error);
  }
  if (syncs) sync_folder(folder_of(target_));
}

void write_file_atomically(const fs::path& target, std::string_view bytes) {
  AtomicFile file(target);
  file.write(bytes);
  file.commit();
}

void create_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) cannot_write(folder, error.value());
  if (!fs::is_directory(folder, error)) cannot_write(folder, ENOTDIR);
}

}  // namespace treadle
