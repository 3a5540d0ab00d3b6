// TensorBoard's event files: curves of numbers over steps.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace treadle {

struct ScalarEvent {
  std::int64_t step = 0;
  std::string tag;
  float value = 0;
  bool operator==(const ScalarEvent&) const = default;
};

// Appends scalars to FOLDER/events.out.tfevents.RUN.treadle, which is made of
// TFRecords (length, masked crc32c of it, data, masked crc32c of that) that
// each hold an Event of tensorflow/core/util/event.proto. Its wall time is the
// step, so that a run's file does not depend on when it ran.
class EventWriter {
 public:
  // A file of that name is replaced; but events before `first_step` are kept,
  // so that a resumed run ends with the file of one that never stopped. What a
  // crash cut off at its end is dropped. Errors as AtomicFile.
  EventWriter(const std::filesystem::path& folder, std::string_view run,
              std::int64_t first_step = 0);
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;

  void scalar(std::string_view tag, std::int64_t step, double value);
  // Hands everything to the operating system. T0961, T0960 when it does not fit.
  void flush();

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::string buffer_;
  int fd_ = -1;
};

// The scalars of an event file, as far as its records are whole (a run may
// still be writing). T0910; T0914 when it is not an event file; T0990 when a
// whole record has a wrong checksum or content.
std::vector<ScalarEvent> read_events(const std::filesystem::path& path);

// CRC-32C (Castagnoli), and TFRecord's mask of it.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace treadle
