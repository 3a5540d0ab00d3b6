// Writing files so that a reader sees the old content or the new, never half.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace treadle {

// Writes to a new file in the target's folder; commit() syncs it, renames it
// over the target and syncs the folder. Without a commit (an exception, a
// crash) the target is untouched, and the destructor removes the new file.
// A target that is a symbolic link is followed; one that exists and is not a
// regular file (a pipe, /dev/stdout) is written directly.
// T0960: the file cannot be created or written (says why); T0961: the disk or
// the quota is full; T0962: no permission, or a read-only file system.
class AtomicFile {
 public:
  // `no`: nothing is synced, for files that may be lost, or left torn, when the
  // machine fails.
  enum class Durable : bool { no, yes };
  explicit AtomicFile(const std::filesystem::path& target, Durable durable = Durable::yes);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  void commit();

 private:
  void create_new_file();
  void discard();
  [[noreturn]] void fail(int error);

  std::filesystem::path target_;
  std::filesystem::path written_;  // the new file, or the target when written directly
  int fd_ = -1;
  bool direct_ = false;
  Durable durable_ = Durable::yes;
};

// One piece of content, written atomically.
void write_file_atomically(const std::filesystem::path& target, std::string_view bytes);

// Creates a folder and its parents; T0960, T0961, T0962 as above.
void create_folders(const std::filesystem::path& folder);

}  // namespace treadle
