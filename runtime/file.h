// Reading whole files.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace treadle {

// No file that Treadle reads whole may be larger than this unless the caller
// says so.
constexpr std::uint64_t default_file_limit = std::uint64_t{8} << 30;

// The bytes of a file. T0910: it cannot be opened or read (says why); T0912:
// it is larger than `limit`, which is checked before memory is allocated.
std::string read_file(const std::filesystem::path& path, std::uint64_t limit = default_file_limit);

// As read_file, and unpacked when the content is gzip (by its first two
// bytes, not by its name; several members are joined). `limit` bounds the
// unpacked size. T0913: the gzip stream is damaged; T0911: it ends early.
std::string read_file_or_gzip(const std::filesystem::path& path,
                              std::uint64_t limit = default_file_limit);

}  // namespace treadle
