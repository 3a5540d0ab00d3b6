// A folder of results that are costly to make, found again by what they follow from.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace treadle {

// Nothing depends on the folder: an entry that is damaged, incomplete, another
// key's or another user's counts as none, and a folder that cannot be read or
// written holds and keeps nothing; no call throws for it. Processes may share
// a folder: entries appear whole or not at all.
class FileCache {
 public:
  static constexpr std::uint64_t default_limit = std::uint64_t{256} << 20;

  // `limit`: the bytes of all entries together.
  explicit FileCache(std::filesystem::path folder, std::uint64_t limit = default_limit)
      : folder_(std::move(folder)), limit_(limit) {}

  // What was stored last under exactly this key; it counts as used now.
  std::optional<std::string> find(std::string_view key) const;

  // Makes the folder where there is none. Those not used for longest go until
  // the rest is within the limit.
  void store(std::string_view key, std::string_view value) const;

 private:
  std::filesystem::path entry_of(std::string_view key) const;
  void trim() const;

  std::filesystem::path folder_;
  std::uint64_t limit_;
};

}  // namespace treadle
